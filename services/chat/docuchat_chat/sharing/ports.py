"""What sharing needs from the world."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from docuchat_chat.conversations.ports import ConversationsTx
from docuchat_chat.sharing.domain import FoundShare, Share
from docuchat_common.ids import ChatId, TenantId


class ShareStore(Protocol):
    """Links; of one tenant but where it says otherwise."""

    async def add(self, share: Share, token_hash: bytes, life: timedelta) -> Share:
        """Store a link, which expires after its life."""
        ...

    async def count(self, tenant_id: TenantId, chat_id: ChatId) -> int:
        """Return how many links of a chat have not expired; none is added until the transaction ends."""
        ...

    async def page(self, tenant_id: TenantId, chat_id: ChatId, limit: int, before: UUID | None) -> Sequence[Share]:
        """Return links of a chat that have not expired, the newest first."""
        ...

    async def delete(self, tenant_id: TenantId, chat_id: ChatId, share_id: UUID) -> bool:
        """Delete a link; False when there is no such link."""
        ...

    async def find(self, tenant_id: TenantId, token_hash: bytes) -> FoundShare | None:
        """Return the link of a token, unless it has expired or its chat is deleted."""
        ...

    async def find_tenant(self, token_hash: bytes) -> TenantId | None:
        """Return the tenant of a token (system role)."""
        ...

    async def delete_expired(self, limit: int) -> int:
        """Delete links of all tenants that have expired (system role); returns how many."""
        ...


class SharingTx(ConversationsTx, Protocol):
    """What of a transaction sharing uses."""

    @property
    def shares(self) -> ShareStore:
        """Links to chats."""
        ...
