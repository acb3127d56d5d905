"""Rows about a chatbot's use in, domain objects out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from docuchat_chat.insights.domain import AskedChat, Comment, Opinions, Unanswered, UseOfDay
from docuchat_common.db.queries import load_queries
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatbotId, ChatId, MessageId, TenantId

_queries: Any = load_queries("docuchat_chat.insights")


class InsightRepository:
    """Chats of all who asked a chatbot."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def page(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, limit: int, before: tuple[datetime, ChatId] | None
    ) -> list[AskedChat]:
        """Return chats, the last used first."""
        before_time, before_id = before if before is not None else (None, None)
        rows = _queries.list_chats(
            self._connection,
            tenant_id=tenant_id,
            chatbot_id=chatbot_id,
            before_time=before_time,
            before_id=before_id,
            row_limit=limit,
        )
        return [_chat(row) async for row in rows]

    async def find(self, tenant_id: TenantId, chatbot_id: ChatbotId, chat_id: ChatId) -> AskedChat | None:
        """Return one of them."""
        row = await _queries.find_chat(self._connection, tenant_id=tenant_id, chatbot_id=chatbot_id, chat_id=chat_id)
        return _chat(row) if row is not None else None

    async def count_askers(self, tenant_id: TenantId, chatbot_id: ChatbotId, since: datetime) -> tuple[int, int]:
        """Return how many chats were used since a moment, and by how many who asked."""
        row = await _queries.count_askers(self._connection, **_since(tenant_id, chatbot_id, since))
        return row["chats"], row["askers"]

    async def use_by_day(self, tenant_id: TenantId, chatbot_id: ChatbotId, since: datetime) -> Sequence[UseOfDay]:
        """Return what was answered since a moment, by day and version."""
        rows = _queries.use_by_day(self._connection, **_since(tenant_id, chatbot_id, since))
        return [
            UseOfDay(
                day=row["day"],
                version=row["version"],
                answers=row["answers"],
                unanswered=row["unanswered"],
                input_tokens=row["input_tokens"],
                output_tokens=row["output_tokens"],
            )
            async for row in rows
        ]

    async def unanswered(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, since: datetime, limit: int
    ) -> Sequence[Unanswered]:
        """Return the questions that found nothing, the most asked first."""
        rows = _queries.unanswered(self._connection, **_since(tenant_id, chatbot_id, since), row_limit=limit)
        return [
            Unanswered(row["question"], row["times"], row["last_asked_at"], ChatId(row["chat_id"]))
            async for row in rows
        ]

    async def opinions(self, tenant_id: TenantId, chatbot_id: ChatbotId, since: datetime) -> Sequence[Opinions]:
        """Count what readers thought of answers."""
        rows = _queries.opinions(self._connection, **_since(tenant_id, chatbot_id, since))
        return [Opinions(row["rating"], row["reason"], row["count"]) async for row in rows]

    async def comments(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, since: datetime, limit: int
    ) -> Sequence[Comment]:
        """Return what readers said of answers, the last first."""
        rows = _queries.comments(self._connection, **_since(tenant_id, chatbot_id, since), row_limit=limit)
        return [
            Comment(
                chat_id=ChatId(row["chat_id"]),
                message_id=MessageId(row["message_id"]),
                rating=row["rating"],
                reason=row["reason"],
                text=row["text"],
                created_at=row["created_at"],
            )
            async for row in rows
        ]


def _since(tenant_id: TenantId, chatbot_id: ChatbotId, since: datetime) -> dict[str, Any]:
    return {"tenant_id": tenant_id, "chatbot_id": chatbot_id, "since": since}


def _chat(row: asyncpg.Record) -> AskedChat:
    return AskedChat(
        id=ChatId(row["id"]),
        owner=Caller(TenantId(row["tenant_id"]), row["subject_type"], row["subject_id"]),
        session_key=row["session_key"],
        title=row["title"],
        message_count=row["message_count"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
