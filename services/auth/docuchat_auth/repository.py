"""Rows in, domain objects out."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from docuchat_auth.domain import (
    Email,
    RefreshToken,
    Role,
    SigningAlgorithm,
    SigningKey,
    Slug,
    Tenant,
    User,
)
from docuchat_auth.errors import TenantTaken
from docuchat_auth.ports import AuthTx
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId, UserId
from docuchat_common.messaging.inbox import Inbox
from docuchat_common.messaging.outbox import Outbox

_TENANT_KEYS = frozenset({"tenants_pkey", "tenants_slug_key"})

_queries: Any = load_queries("docuchat_auth")


def compose(connection: asyncpg.Connection, outbox: Outbox, _: Inbox) -> AuthTx:
    """The repositories of one transaction. Auth consumes no event, so it has no use for the inbox."""
    return AuthTx(
        tenants=TenantRepository(connection),
        users=UserRepository(connection),
        refresh_tokens=RefreshTokenRepository(connection),
        signing_keys=SigningKeyRepository(connection),
        outbox=outbox,
    )


class TenantRepository:
    """Tenants in Postgres."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find_by_id(self, tenant_id: TenantId) -> Tenant | None:
        row = await _queries.find_tenant_by_id(self._connection, tenant_id=tenant_id)
        return None if row is None else _tenant(row)

    async def find_by_slug(self, slug: Slug) -> Tenant | None:
        row = await _queries.find_tenant_by_slug(self._connection, slug=slug)
        return None if row is None else _tenant(row)

    async def add(self, slug: Slug, name: str, *, signup_open: bool, tenant_id: TenantId | None) -> Tenant:
        try:
            # a savepoint, so that the caller's transaction lives on when the name is taken
            async with self._connection.transaction():
                if tenant_id is None:
                    row = await _queries.add_tenant(self._connection, slug=slug, name=name, signup_open=signup_open)
                else:
                    row = await _queries.add_tenant_with_id(
                        self._connection, tenant_id=tenant_id, slug=slug, name=name, signup_open=signup_open
                    )
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name in _TENANT_KEYS:
                raise TenantTaken from error
            raise
        return _tenant(row)

    async def set_signup(self, slug: Slug, *, is_open: bool) -> Tenant | None:
        row = await _queries.set_signup(self._connection, slug=slug, is_open=is_open)
        return None if row is None else _tenant(row)


class UserRepository:
    """Users in Postgres."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find_by_email(self, tenant_id: TenantId, email: Email) -> User | None:
        row = await _queries.find_user_by_email(self._connection, tenant_id=tenant_id, email=email)
        return None if row is None else _user(row)

    async def find_by_id(self, tenant_id: TenantId, user_id: UserId) -> User | None:
        row = await _queries.find_user_by_id(self._connection, tenant_id=tenant_id, user_id=user_id)
        return None if row is None else _user(row)

    async def register(self, tenant_id: TenantId, user_id: UserId, email: Email, moment: datetime) -> User | None:
        await _queries.lock_registration(self._connection, tenant_id=tenant_id)
        row = await _queries.register_user(
            self._connection, tenant_id=tenant_id, user_id=user_id, email=email, moment=moment
        )
        return None if row is None else _user(row)

    async def record_login(self, tenant_id: TenantId, user_id: UserId, moment: datetime) -> None:
        await _queries.record_login(self._connection, tenant_id=tenant_id, user_id=user_id, moment=moment)


class RefreshTokenRepository:
    """Refresh tokens in Postgres."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find(self, tenant_id: TenantId, token_hash: bytes) -> RefreshToken | None:
        row = await _queries.find_refresh_token(self._connection, tenant_id=tenant_id, token_hash=token_hash)
        return None if row is None else _refresh_token(row)

    async def lock_family(self, family_id: UUID) -> None:
        await _queries.lock_family(self._connection, family=str(family_id))

    async def add(self, token: RefreshToken, token_hash: bytes) -> None:
        await _queries.add_refresh_token(
            self._connection,
            tenant_id=token.tenant_id,
            token_id=token.id,
            user_id=token.user_id,
            family_id=token.family_id,
            parent_id=token.parent_id,
            token_hash=token_hash,
            created_at=token.created_at,
            expires_at=token.expires_at,
        )

    async def use(self, tenant_id: TenantId, token_id: UUID, moment: datetime) -> bool:
        used = await _queries.use_refresh_token(self._connection, tenant_id=tenant_id, token_id=token_id, moment=moment)
        return bool(used)

    async def revoke_family(self, tenant_id: TenantId, family_id: UUID, moment: datetime) -> int:
        revoked: int = await _queries.revoke_family(
            self._connection, tenant_id=tenant_id, family_id=family_id, moment=moment
        )
        return revoked

    async def delete_expired(self, before: datetime, limit: int) -> int:
        deleted: int = await _queries.delete_expired_refresh_tokens(self._connection, before=before, max_rows=limit)
        return deleted


class SigningKeyRepository:
    """Signing keys in Postgres."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def lock(self) -> None:
        await _queries.lock_signing_keys(self._connection)

    async def list_all(self) -> Sequence[SigningKey]:
        return [_signing_key(row) async for row in _queries.list_signing_keys(self._connection)]

    async def add(self, key: SigningKey) -> None:
        await _queries.add_signing_key(
            self._connection,
            kid=key.kid,
            algorithm=key.algorithm.value,
            public_jwk=json.dumps(dict(key.public_jwk)),
            sealed_private_key=key.sealed_private_key,
            created_at=key.created_at,
            not_before=key.not_before,
        )

    async def retire(self, kid: str, moment: datetime) -> None:
        await _queries.retire_signing_key(self._connection, kid=kid, moment=moment)

    async def drop(self, kid: str) -> None:
        await _queries.drop_signing_key(self._connection, kid=kid)


def _tenant(row: asyncpg.Record) -> Tenant:
    return Tenant(
        id=TenantId(row["id"]),
        slug=Slug(row["slug"]),
        name=row["name"],
        signup_open=row["signup_open"],
        created_at=row["created_at"],
    )


def _user(row: asyncpg.Record) -> User:
    return User(
        tenant_id=TenantId(row["tenant_id"]),
        id=UserId(row["id"]),
        email=Email(row["email"]),
        role=Role(row["role"]),
        is_active=row["is_active"],
        created_at=row["created_at"],
        last_login_at=row["last_login_at"],
    )


def _refresh_token(row: asyncpg.Record) -> RefreshToken:
    return RefreshToken(
        id=row["id"],
        tenant_id=TenantId(row["tenant_id"]),
        user_id=UserId(row["user_id"]),
        family_id=row["family_id"],
        parent_id=row["parent_id"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        used_at=row["used_at"],
        revoked_at=row["revoked_at"],
    )


def _signing_key(row: asyncpg.Record) -> SigningKey:
    return SigningKey(
        kid=row["kid"],
        algorithm=SigningAlgorithm(row["algorithm"]),
        public_jwk=json.loads(row["public_jwk"]),
        sealed_private_key=row["sealed_private_key"],
        created_at=row["created_at"],
        not_before=row["not_before"],
        retired_at=row["retired_at"],
    )
