"""Issue token pairs; rotate and revoke refresh tokens."""

import secrets
from datetime import timedelta
from uuid import UUID

import structlog

from docuchat_auth.sessions.domain import RefreshToken, TokenPair, hash_refresh_token
from docuchat_auth.sessions.errors import InvalidRefreshToken, RefreshTokenReused
from docuchat_auth.sessions.ports import SessionsTx
from docuchat_auth.signing_keys.service import KeyRing
from docuchat_auth.tenants.domain import Tenant
from docuchat_auth.tenants.ports import UnitOfWork
from docuchat_auth.users.domain import User
from docuchat_common.clock import Clock
from docuchat_common.ids import TenantId, UserId, uuid7

logger = structlog.get_logger()

_SWEEP_BATCH = 1000
_KEEP_EXPIRED = timedelta(days=1)


class Sessions:
    """Issues token pairs; rotates and revokes refresh tokens.

    A refresh token works once. Showing it again, however soon, revokes its whole family: there is no grace period,
    because a thief who is first cannot be told from a client that retries, and a client that lost an answer only signs
    in again.
    """

    def __init__(self, uow: UnitOfWork[SessionsTx], keys: KeyRing, clock: Clock, refresh_lifetime: timedelta) -> None:
        self._uow = uow
        self._keys = keys
        self._clock = clock
        self._refresh_lifetime = refresh_lifetime

    async def start(self, tx: SessionsTx, user: User) -> str:
        """Opens a family in the caller's transaction; returns its first refresh token."""
        return await self._add_link(tx, user.tenant_id, user.id, family_id=uuid7(), parent_id=None)

    async def pair(self, user: User, tenant: Tenant, refresh_token: str) -> TokenPair:
        """The answer to a client: an access token beside the refresh token."""
        access_token = await self._keys.sign_access_token(user, tenant.slug)
        return TokenPair(access_token, self._keys.token_lifetime, refresh_token)

    async def refresh(self, tenant: Tenant, refresh_token: str) -> TokenPair:
        """Exchanges a refresh token for a new pair. Raises InvalidRefreshToken, RefreshTokenReused."""
        async with self._uow(tenant.id) as tx:
            rotated = await self._rotate(tx, tenant, hash_refresh_token(refresh_token))
        if rotated is None:  # raised here, because the revocation had to be committed
            raise RefreshTokenReused
        user, successor = rotated
        return await self.pair(user, tenant, successor)

    async def end(self, tenant: Tenant, refresh_token: str) -> None:
        """Revokes the token's family; an unknown token is no error (RFC 7009)."""
        async with self._uow(tenant.id) as tx:
            token = await tx.refresh_tokens.find(tenant.id, hash_refresh_token(refresh_token))
            if token is not None:
                await tx.refresh_tokens.lock_family(token.family_id)
                await tx.refresh_tokens.revoke_family(tenant.id, token.family_id, self._clock.now())

    async def forget_expired(self, keep: timedelta = _KEEP_EXPIRED) -> int:
        """Delete tokens that expired longer than `keep` ago; returns how many."""
        deleted = 0
        while True:
            async with self._uow.system() as tx:
                batch = await tx.refresh_tokens.delete_expired(self._clock.now() - keep, _SWEEP_BATCH)
            deleted += batch
            if batch < _SWEEP_BATCH:
                logger.info("refresh_tokens.swept", deleted=deleted)
                return deleted

    async def _rotate(self, tx: SessionsTx, tenant: Tenant, token_hash: bytes) -> tuple[User, str] | None:
        """The user and the next token; None when the token was used before and its family is therefore revoked."""
        found = await tx.refresh_tokens.find(tenant.id, token_hash)
        if found is None:
            raise InvalidRefreshToken
        await tx.refresh_tokens.lock_family(found.family_id)
        moment = self._clock.now()
        user = await tx.users.find_by_id(tenant.id, found.user_id)
        if user is None or not user.is_active:
            raise InvalidRefreshToken
        if await tx.refresh_tokens.use(tenant.id, found.id, moment):
            successor = await self._add_link(tx, tenant.id, user.id, family_id=found.family_id, parent_id=found.id)
            return user, successor
        # read again: what was found may be older than the lock
        token = await tx.refresh_tokens.find(tenant.id, token_hash)
        if token is None or token.used_at is None:
            raise InvalidRefreshToken
        if await tx.refresh_tokens.revoke_family(tenant.id, token.family_id, moment):
            logger.warning(
                "refresh_token.reused", tenant_id=tenant.id, user_id=str(user.id), family_id=str(token.family_id)
            )
        return None

    async def _add_link(
        self, tx: SessionsTx, tenant_id: TenantId, user_id: UserId, *, family_id: UUID, parent_id: UUID | None
    ) -> str:
        text = secrets.token_urlsafe(32)
        moment = self._clock.now()
        link = RefreshToken(
            id=uuid7(),
            tenant_id=tenant_id,
            user_id=user_id,
            family_id=family_id,
            parent_id=parent_id,
            created_at=moment,
            expires_at=moment + self._refresh_lifetime,
            used_at=None,
            revoked_at=None,
        )
        await tx.refresh_tokens.add(link, hash_refresh_token(text))
        return text
