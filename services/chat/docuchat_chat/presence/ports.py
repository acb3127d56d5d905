"""What presence needs from the world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from docuchat_chat.presence.domain import ChatSession
from docuchat_common.http.caller import Caller
from docuchat_common.idempotency import IdempotentRequests
from docuchat_common.ids import ChatId
from docuchat_common.messaging.outbox import Outbox


class SessionStore(Protocol):
    """Sessions of one tenant's chats."""

    async def has_chat(self, caller: Caller, chat_id: ChatId) -> bool:
        """Tell whether a caller has this chat."""
        ...

    async def open(self, caller: Caller, chat_id: ChatId, session_id: UUID, token_hash: bytes) -> ChatSession:
        """Store a session."""
        ...

    async def count_active(self, caller: Caller, chat_id: ChatId) -> int:
        """Return how many sessions of a chat have not ended; none is added until the transaction ends."""
        ...

    async def list_active(self, caller: Caller, chat_id: ChatId) -> Sequence[ChatSession]:
        """Return a chat's sessions that have not ended, the newest first."""
        ...

    async def touch(self, caller: Caller, chat_id: ChatId, session_id: UUID, token_hash: bytes) -> ChatSession | None:
        """Note a sign of life of the session of a token; None when it has ended."""
        ...

    async def close(self, caller: Caller, chat_id: ChatId, session_id: UUID) -> bool:
        """End a session; False when it had ended."""
        ...

    async def delete_ended(self) -> None:
        """Delete sessions of all tenants that have ended (system role)."""
        ...


class PresenceTx(Protocol):
    """What of a transaction presence uses."""

    @property
    def chat_sessions(self) -> SessionStore:
        """Sessions of chats."""
        ...

    @property
    def outbox(self) -> Outbox:
        """Events."""
        ...

    @property
    def requests(self) -> IdempotentRequests:
        """Idempotency keys."""
        ...
