"""The chats of who is gone: rows in, ids out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from docuchat_common.db.queries import load_queries
from docuchat_common.ids import TurnId
from docuchat_common.removals import RemovedUser, RemovedUsers, removed_user

_queries: Any = load_queries("docuchat_chat.conversations", "legacies.sql")


class LegacyRepository:
    """Chats and running turns of removed users; `list_left` in a system transaction."""

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
