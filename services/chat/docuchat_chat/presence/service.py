"""Presence: where a chat is open just now."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from uuid import UUID

from docuchat_chat.conversations.errors import ChatNotFound
from docuchat_chat.presence.domain import MOST_SESSIONS, ChatSession, OpenedSession
from docuchat_chat.presence.errors import ChatSessionNotFound, TooManyChatSessions
from docuchat_chat.presence.ports import PresenceTx
from docuchat_common.audit import entry
from docuchat_common.db.uow import Transactions
from docuchat_common.http.caller import Caller
from docuchat_common.idempotency import Settle, without_key
from docuchat_common.ids import ChatId, uuid7


class PresenceService:
    """Sessions of chats: each ends by hand, after two minutes of silence, or with its chat."""

    def __init__(self, transactions: Transactions[PresenceTx]) -> None:
        self._transactions = transactions

    async def open(self, caller: Caller, chat_id: ChatId, settle: Settle[OpenedSession] = without_key) -> OpenedSession:
        """Begin a session of an own chat. Raises ChatNotFound, TooManyChatSessions."""
        token = secrets.token_urlsafe(32)
        async with self._transactions(caller.tenant_id) as tx:
            await _require_own(tx, caller, chat_id)
            if await tx.chat_sessions.count_active(caller, chat_id) >= MOST_SESSIONS:
                raise TooManyChatSessions(limit=MOST_SESSIONS)
            session = await tx.chat_sessions.open(caller, chat_id, uuid7(), _hash_of(token))
            opened = OpenedSession(session, token)
            tx.outbox.add(entry(caller, "chat_session.open", session.id))
            await settle(tx, opened)
        return opened

    async def list_active(self, caller: Caller, chat_id: ChatId) -> Sequence[ChatSession]:
        """Return the sessions of an own chat that have not ended, the newest first. Raises ChatNotFound."""
        async with self._transactions(caller.tenant_id) as tx:
            await _require_own(tx, caller, chat_id)
            return await tx.chat_sessions.list_active(caller, chat_id)

    async def keep(self, caller: Caller, chat_id: ChatId, session_id: UUID, token: str) -> ChatSession:
        """Note a sign of life. Raises ChatNotFound, ChatSessionNotFound."""
        async with self._transactions(caller.tenant_id) as tx:
            await _require_own(tx, caller, chat_id)
            session = await tx.chat_sessions.touch(caller, chat_id, session_id, _hash_of(token))
        if session is None:
            raise ChatSessionNotFound
        return session

    async def close(self, caller: Caller, chat_id: ChatId, session_id: UUID) -> None:
        """End a session. Raises ChatNotFound, ChatSessionNotFound."""
        async with self._transactions(caller.tenant_id) as tx:
            await _require_own(tx, caller, chat_id)
            if not await tx.chat_sessions.close(caller, chat_id, session_id):
                raise ChatSessionNotFound
            tx.outbox.add(entry(caller, "chat_session.close", session_id))

    async def sweep(self) -> None:
        """Delete sessions that have ended."""
        async with self._transactions.system() as tx:
            await tx.chat_sessions.delete_ended()


async def _require_own(tx: PresenceTx, caller: Caller, chat_id: ChatId) -> None:
    if not await tx.chat_sessions.has_chat(caller, chat_id):
        raise ChatNotFound


def _hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
