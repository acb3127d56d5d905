"""Users in Postgres: rows in, domain objects out."""

from datetime import datetime
from typing import Any

import asyncpg

from docuchat_auth.users.domain import Email, Newcomer, User, UserFilter, Username
from docuchat_common.contracts.permissions import Role
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId, UserId, uuid7

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
            role=wanted.role,
            is_active=wanted.is_active,
            max_rows=limit,
        )
        return [_user(row) async for row in rows]

    async def list_from(self, tenant_id: TenantId, skip: int, limit: int) -> list[User]:
        """By id, without the first `skip`."""
        rows = _queries.list_users_from(self._connection, tenant_id=tenant_id, skip=skip, max_rows=limit)
        return [_user(row) async for row in rows]

    async def count(self, tenant_id: TenantId) -> int:
        found: int = await _queries.count_users(self._connection, tenant_id=tenant_id)
        return found

    async def find_by_username(self, tenant_id: TenantId, username: Username) -> User | None:
        row = await _queries.find_user_by_username(self._connection, tenant_id=tenant_id, username=username)
        return None if row is None else _user(row)

    async def list_claimants(self, tenant_id: TenantId, email: Email) -> list[User]:
        """A few of those who registered with an address that they have not proven, the last first."""
        rows = _queries.list_claimants(self._connection, tenant_id=tenant_id, email=email)
        return [_user(row) async for row in rows]

    async def find_homes(self, email: Email, *, also_claimed: bool = False) -> list[TenantId]:
        """System transactions only: the tenants of an address, those first in which it is proven."""
        rows = _queries.list_homes(self._connection, email=email, also_claimed=also_claimed)
        return [TenantId(row["tenant_id"]) async for row in rows]

    async def find_homes_of_username(self, username: Username) -> list[TenantId]:
        """System transactions only: the tenants of a user name."""
        rows = _queries.list_homes_of_username(self._connection, username=username)
        return [TenantId(row["tenant_id"]) async for row in rows]

    async def list_unproven(self, before: datetime, limit: int) -> list[tuple[TenantId, UserId]]:
        """System transactions only: who claimed an address, never proved it and was not here since."""
        rows = _queries.list_unproven(self._connection, before=before, max_rows=limit)
        return [(TenantId(row["tenant_id"]), UserId(row["user_id"])) async for row in rows]

    async def register(
        self,
        tenant_id: TenantId,
        newcomer: Newcomer,
        moment: datetime,
        *,
        may_own: bool = True,
        role: Role = Role.MEMBER,
    ) -> User | None:
        """Add a user of this role; the owner when that may be and nobody is there yet.

        None when the address or the user name is already there.
        """
        await _queries.lock_registration(self._connection, tenant_id=tenant_id)
        row = await _queries.register_user(
            self._connection,
            tenant_id=tenant_id,
            user_id=uuid7(),
            email=newcomer.email,
            claimed_email=newcomer.claimed_email,
            username=newcomer.username,
            name=newcomer.name,
            role=role.value,
            may_own=may_own,
            moment=moment,
        )
        return None if row is None else _user(row)

    async def prove_email(self, tenant_id: TenantId, user_id: UserId, email: Email) -> bool:
        """Make a claimed address the user's own; False when it is another user's, or no longer claimed."""
        await _queries.lock_registration(self._connection, tenant_id=tenant_id)
        proven = await _queries.prove_email(self._connection, user_id=user_id, email=email)
        return bool(proven)

    async def record_login(self, tenant_id: TenantId, user_id: UserId, moment: datetime) -> None:
        await _queries.record_login(self._connection, tenant_id=tenant_id, user_id=user_id, moment=moment)

    async def lock(self, tenant_id: TenantId, user_id: UserId) -> bool:
        """Hold off other changes of a user; False for a stranger."""
        return bool(await _queries.lock_user(self._connection, tenant_id=tenant_id, user_id=user_id))

    async def lock_all(self, tenant_id: TenantId) -> None:
        """Hold off registrations and other changes of who owns the tenant."""
        await _queries.lock_registration(self._connection, tenant_id=tenant_id)

    async def rename(self, tenant_id: TenantId, user_id: UserId, name: str) -> None:
        await _queries.rename_user(self._connection, tenant_id=tenant_id, user_id=user_id, name=name)

    async def has_proven_manager(self, tenant_id: TenantId) -> bool:
        """Whether an owner or admin has proven an address."""
        return bool(await _queries.has_proven_manager(self._connection, tenant_id=tenant_id))

    async def count_owners(self, tenant_id: TenantId) -> int:
        """How many active owners the tenant has."""
        found: int = await _queries.count_owners(self._connection, tenant_id=tenant_id)
        return found

    async def list_owners_addresses(self, tenant_id: TenantId) -> list[str]:
        """Where to reach those who own the tenant."""
        rows = _queries.list_owners_addresses(self._connection, tenant_id=tenant_id)
        return [row["email"] async for row in rows]

    async def change(self, tenant_id: TenantId, user_id: UserId, role: Role, is_active: bool) -> None:
        await _queries.change_user(
            self._connection, tenant_id=tenant_id, user_id=user_id, role=role.value, is_active=is_active
        )

    async def delete(self, tenant_id: TenantId, user_id: UserId) -> None:
        await _queries.delete_user(self._connection, tenant_id=tenant_id, user_id=user_id)

    async def outdate(self, tenant_id: TenantId, user_id: UserId) -> int | None:
        """The next version of a user; None for a stranger."""
        version: int | None = await _queries.outdate_user(self._connection, tenant_id=tenant_id, user_id=user_id)
        return version


def _user(row: asyncpg.Record) -> User:
    return User(
        tenant_id=TenantId(row["tenant_id"]),
        id=UserId(row["id"]),
        email=row["email"],
        claimed_email=row["claimed_email"],
        username=row["username"],
        name=row["name"],
        role=Role(row["role"]),
        is_active=row["is_active"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"] or row["created_at"],
        last_login_at=row["last_login_at"],
    )
