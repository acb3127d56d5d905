"""What the use cases of sessions need from the world."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from docuchat_auth.sessions.domain import RefreshToken
from docuchat_auth.users.ports import UsersTx
from docuchat_common.ids import TenantId


class RefreshTokenStore(Protocol):
    """The refresh tokens of the transaction's tenant, by the SHA-256 of the token."""

    async def find(self, tenant_id: TenantId, token_hash: bytes) -> RefreshToken | None: ...

    async def lock_family(self, family_id: UUID) -> None:
        """Holds off other transactions on the family until this one ends."""
        ...

    async def add(self, token: RefreshToken, token_hash: bytes) -> None: ...

    async def use(self, tenant_id: TenantId, token_id: UUID, moment: datetime) -> bool:
        """Spends a live token; False when it was spent, revoked or has expired."""
        ...

    async def revoke_family(self, tenant_id: TenantId, family_id: UUID, moment: datetime) -> int:
        """Revokes what is left of the family; returns how many tokens that were."""
        ...

    async def delete_expired(self, before: datetime, limit: int) -> int:
        """System transactions only: forgets tokens that expired before a moment, of any tenant."""
        ...


class SessionsTx(UsersTx, Protocol):
    """A transaction with refresh tokens as well."""

    @property
    def refresh_tokens(self) -> RefreshTokenStore: ...
