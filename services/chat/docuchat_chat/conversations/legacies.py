"""The chats of users and chatbots that are gone: rows in, ids out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from docuchat_common.db.queries import load_queries
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatbotId, ChatId, TenantId, TurnId
from docuchat_common.removals import RemovedUser, RemovedUsers, removed_user

_queries: Any = load_queries("docuchat_chat.conversations", "legacies.sql")


class LegacyRepository:
    """Chats and running turns of who is gone; `list_left` and `list_orphaning` in a system transaction."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    @property
    def removed(self) -> RemovedUsers:
        """Who is gone."""
        return RemovedUsers(self._connection, "chat")

    async def list_left(self, limit: int) -> Sequence[RemovedUser]:
        """Removed users, of all tenants, who have chats."""
        return [removed_user(row) async for row in _queries.list_left(self._connection, row_limit=limit)]

    async def list_running(self, who: RemovedUser) -> Sequence[TurnId]:
        """What is being answered to the user or a key of the user's."""
        rows = _queries.list_running(self._connection, tenant_id=who.tenant_id, subject_ids=who.subject_ids)
        return [TurnId(row["id"]) async for row in rows]

    async def delete_chats(self, who: RemovedUser, limit: int) -> tuple[int, int]:
        """Turn some chats into tombstones, their messages and finished turns go; how many chats and messages."""
        chats = [
            row["id"]
            async for row in _queries.lock_chats(
                self._connection, tenant_id=who.tenant_id, subject_ids=who.subject_ids, row_limit=limit
            )
        ]
        messages: int = await _queries.delete_chats(self._connection, tenant_id=who.tenant_id, chat_ids=chats)
        return len(chats), messages

    async def list_orphaning(self, limit: int) -> Sequence[tuple[TenantId, ChatbotId]]:
        """Chatbots of all tenants that are gone and have chats."""
        rows = _queries.list_orphaning(self._connection, row_limit=limit)
        return [(TenantId(row["tenant_id"]), ChatbotId(row["chatbot_id"])) async for row in rows]

    async def list_orphans(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, limit: int
    ) -> Sequence[tuple[Caller, ChatId]]:
        """Some chats of one of them, each with whose it is."""
        rows = _queries.list_orphans(self._connection, tenant_id=tenant_id, chatbot_id=chatbot_id, row_limit=limit)
        return [(Caller(tenant_id, row["subject_type"], row["subject_id"]), ChatId(row["id"])) async for row in rows]
