"""Refresh tokens in Postgres: rows in, domain objects out."""

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from docuchat_auth.sessions.domain import OpenSession, Origin, RefreshToken, SignInMethod
from docuchat_auth.users.presence import user_still_there
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId, UserId

_queries: Any = load_queries("docuchat_auth.sessions")


class RefreshTokenRepository:
    """The refresh tokens of the transaction's tenant, by the SHA-256 of the token."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find(self, tenant_id: TenantId, token_hash: bytes) -> RefreshToken | None:
        row = await _queries.find_refresh_token(self._connection, tenant_id=tenant_id, token_hash=token_hash)
        return None if row is None else _refresh_token(row)

    async def find_home(self, token_hash: bytes) -> TenantId | None:
        """System transactions only: whose tenant's token this is."""
        found: TenantId | None = await _queries.find_home(self._connection, token_hash=token_hash)
        return found

    async def add(self, token: RefreshToken, token_hash: bytes) -> None:
        """Raises UserGone."""
        with user_still_there():
            await _queries.add_refresh_token(
                self._connection,
                tenant_id=token.tenant_id,
                token_id=token.id,
                user_id=token.user_id,
                family_id=token.family_id,
                method=token.method.value,
                parent_id=token.parent_id,
                token_hash=token_hash,
                created_at=token.created_at,
                expires_at=token.expires_at,
                factor_shown=token.factor_shown,
                device=token.origin.device,
                address=token.origin.address,
            )

    async def note_factor(self, tenant_id: TenantId, family_id: UUID) -> None:
        """A second factor was set up in this sign-in."""
        await _queries.note_factor(self._connection, tenant_id=tenant_id, family_id=family_id)

    async def use(self, tenant_id: TenantId, token_id: UUID, moment: datetime) -> bool:
        """Spend a live token; False when it was spent, revoked or has expired."""
        used = await _queries.use_refresh_token(self._connection, tenant_id=tenant_id, token_id=token_id, moment=moment)
        return bool(used)

    async def revoke_family(self, tenant_id: TenantId, family_id: UUID, moment: datetime) -> int:
        """Revoke what is left of the family; returns how many of them could still be used."""
        revoked: int = await _queries.revoke_family(
            self._connection, tenant_id=tenant_id, family_id=family_id, moment=moment
        )
        return revoked

    async def revoke_all(
        self, tenant_id: TenantId, user_id: UserId, moment: datetime, *, keep: UUID | None = None, spared: int = 0
    ) -> list[UUID]:
        """End a user's sessions, but not `keep` nor so many that were `spared` as the last ones used; their ids."""
        rows = _queries.revoke_sessions(
            self._connection, tenant_id=tenant_id, user_id=user_id, moment=moment, keep=keep, spared=spared
        )
        return [row["family_id"] async for row in rows]

    async def list_open(
        self, tenant_id: TenantId, user_id: UserId, before: UUID | None, moment: datetime, limit: int
    ) -> list[OpenSession]:
        """A user's sessions, the newest first."""
        rows = _queries.list_open_sessions(
            self._connection, tenant_id=tenant_id, user_id=user_id, before=before, moment=moment, max_rows=limit
        )
        return [
            OpenSession(row["family_id"], row["created_at"], row["expires_at"], Origin(row["device"], row["address"]))
            async for row in rows
        ]

    async def is_family_of(self, tenant_id: TenantId, user_id: UserId, family_id: UUID) -> bool:
        return bool(
            await _queries.is_family_of(self._connection, tenant_id=tenant_id, user_id=user_id, family_id=family_id)
        )

    async def delete_expired(self, before: datetime, limit: int) -> int:
        """System transactions only: forget tokens that expired before a moment, of any tenant."""
        deleted: int = await _queries.delete_expired_refresh_tokens(self._connection, before=before, max_rows=limit)
        return deleted


def _refresh_token(row: asyncpg.Record) -> RefreshToken:
    return RefreshToken(
        id=row["id"],
        tenant_id=TenantId(row["tenant_id"]),
        user_id=UserId(row["user_id"]),
        family_id=row["family_id"],
        method=SignInMethod(row["method"]),
        parent_id=row["parent_id"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        used_at=row["used_at"],
        revoked_at=row["revoked_at"],
        factor_shown=row["factor_shown"],
        origin=Origin(row["device"], row["address"]),
    )
