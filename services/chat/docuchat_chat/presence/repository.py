"""Rows of sessions in, domain objects out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg

from docuchat_chat.presence.domain import SILENCE, ChatSession
from docuchat_common.db.queries import load_queries
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatId

_queries: Any = load_queries("docuchat_chat.presence")


class SessionRepository:
    """Sessions of chats."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def has_chat(self, caller: Caller, chat_id: ChatId) -> bool:
        """Tell whether a caller has this chat."""
        found: bool = await _queries.has_chat(self._connection, **_own(caller, chat_id))
        return found

    async def open(self, caller: Caller, chat_id: ChatId, session_id: UUID, token_hash: bytes) -> ChatSession:
        """Store a session."""
        row = await _queries.open(
            self._connection,
            **_own(caller, chat_id),
            subject_type=caller.subject_type,
            session_id=session_id,
            token_hash=token_hash,
        )
        return _session(row)

    async def count_active(self, caller: Caller, chat_id: ChatId) -> int:
        """Return how many sessions of a chat have not ended; none is added until the transaction ends."""
        await _queries.count_in_turn(self._connection, tenant_id=caller.tenant_id, chat_id=chat_id)
        count: int = await _queries.count_active(
            self._connection, tenant_id=caller.tenant_id, chat_id=chat_id, silence=SILENCE
        )
        return count

    async def list_active(self, caller: Caller, chat_id: ChatId) -> Sequence[ChatSession]:
        """Return a chat's sessions that have not ended, the newest first."""
        rows = _queries.list_active(self._connection, tenant_id=caller.tenant_id, chat_id=chat_id, silence=SILENCE)
        return [_session(row) async for row in rows]

    async def touch(self, caller: Caller, chat_id: ChatId, session_id: UUID, token_hash: bytes) -> ChatSession | None:
        """Note a sign of life of the session of a token; None when it has ended."""
        row = await _queries.touch(
            self._connection,
            **_own(caller, chat_id),
            session_id=session_id,
            token_hash=token_hash,
            silence=SILENCE,
        )
        return _session(row) if row is not None else None

    async def close(self, caller: Caller, chat_id: ChatId, session_id: UUID) -> bool:
        """End a session; False when it had ended."""
        done = await _queries.close(self._connection, **_own(caller, chat_id), session_id=session_id, silence=SILENCE)
        return done is not None

    async def delete_ended(self) -> None:
        """Delete sessions of all tenants that have ended (system role)."""
        await _queries.delete_ended(self._connection, silence=SILENCE)


def _own(caller: Caller, chat_id: ChatId) -> dict[str, Any]:
    return {"tenant_id": caller.tenant_id, "subject_id": caller.subject_id, "chat_id": chat_id}


def _session(row: asyncpg.Record) -> ChatSession:
    return ChatSession(row["id"], ChatId(row["chat_id"]), row["subject_id"], row["last_activity"], row["created_at"])
