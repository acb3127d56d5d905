"""Rows of chats in, titles out."""

from __future__ import annotations

from typing import Any

import asyncpg

from docuchat_common.db.queries import load_queries
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatId
from docuchat_knowledge.folding import fold

_queries: Any = load_queries("docuchat_chat.titles")


class TitleRepository:
    """Titles of chats."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def claim(self, caller: Caller, chat_id: ChatId) -> str | None:
        """Note that a model is about to be asked for a title; the title until then, None when it must not be."""
        title: str | None = await _queries.claim(self._connection, **_own(caller), chat_id=chat_id)
        return title

    async def put(self, caller: Caller, chat_id: ChatId, title: str, before: str) -> bool:
        """Give a chat the model's title; False when it is another than `before` by now."""
        done = await _queries.put(
            self._connection, **_own(caller), chat_id=chat_id, title=title, title_key=fold(title), before=before
        )
        return done is not None


def _own(caller: Caller) -> dict[str, Any]:
    return {"tenant_id": caller.tenant_id, "subject_id": caller.subject_id}
