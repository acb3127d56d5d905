"""Users in Postgres: rows in, domain objects out."""

from datetime import datetime
from typing import Any

import asyncpg

from docuchat_auth.users.domain import Email, User, UserFilter
from docuchat_common.contracts.permissions import Role
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId, UserId

_queries: Any = load_queries("docuchat_auth.users")


class UserRepository:
    """The users of the transaction's tenant."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find_by_email(self, tenant_id: TenantId, email: Email) -> User | None:
        row = await _queries.find_user_by_email(self._connection, tenant_id=tenant_id, email=email)
        return None if row is None else _user(row)

    async def find_by_id(self, tenant_id: TenantId, user_id: UserId) -> User | None:
        row = await _queries.find_user_by_id(self._connection, tenant_id=tenant_id, user_id=user_id)
        return None if row is None else _user(row)

    async def list_after(self, tenant_id: TenantId, after: UserId | None, wanted: UserFilter, limit: int) -> list[User]:
        rows = _queries.list_users_after(
            self._connection,
            tenant_id=tenant_id,
            after=after,
            email=wanted.email,
            user_id=wanted.user_id,
            max_rows=limit,
        )
        return [_user(row) async for row in rows]

    async def register(self, tenant_id: TenantId, user_id: UserId, email: Email, moment: datetime) -> User | None:
        """Add a user: the owner when first in the tenant, else a member. None when the address is already there."""
        await _queries.lock_registration(self._connection, tenant_id=tenant_id)
        row = await _queries.register_user(
            self._connection, tenant_id=tenant_id, user_id=user_id, email=email, moment=moment
        )
        return None if row is None else _user(row)

    async def record_login(self, tenant_id: TenantId, user_id: UserId, moment: datetime) -> None:
        await _queries.record_login(self._connection, tenant_id=tenant_id, user_id=user_id, moment=moment)

    async def lock(self, tenant_id: TenantId, user_id: UserId) -> bool:
        """Hold off other changes of a user; False for a stranger."""
        return bool(await _queries.lock_user(self._connection, tenant_id=tenant_id, user_id=user_id))

    async def outdate(self, tenant_id: TenantId, user_id: UserId) -> int | None:
        """The next version of a user; None for a stranger."""
        version: int | None = await _queries.outdate_user(self._connection, tenant_id=tenant_id, user_id=user_id)
        return version


def _user(row: asyncpg.Record) -> User:
    return User(
        tenant_id=TenantId(row["tenant_id"]),
        id=UserId(row["id"]),
        email=Email(row["email"]),
        role=Role(row["role"]),
        is_active=row["is_active"],
        version=row["version"],
        created_at=row["created_at"],
        last_login_at=row["last_login_at"],
    )
