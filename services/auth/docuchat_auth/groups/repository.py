"""Groups in Postgres: rows in, domain objects out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from docuchat_auth.groups.domain import Group, Membership
from docuchat_auth.groups.errors import GroupNameTaken
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId, UserId

_queries: Any = load_queries("docuchat_auth.groups")


class GroupRepository:
    """The groups of the transaction's tenant."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def add(self, tenant_id: TenantId, group_id: UUID, name: str, moment: datetime) -> None:
        """Raises GroupNameTaken."""
        async with self._unique_name():
            await _queries.add_group(self._connection, tenant_id=tenant_id, group_id=group_id, name=name, moment=moment)

    async def rename(self, tenant_id: TenantId, group_id: UUID, name: str) -> bool:
        """False for a group that is not there. Raises GroupNameTaken."""
        async with self._unique_name():
            return bool(
                await _queries.rename_group(self._connection, tenant_id=tenant_id, group_id=group_id, name=name)
            )

    async def find(self, tenant_id: TenantId, group_id: UUID) -> Group | None:
        row = await _queries.find_group(self._connection, tenant_id=tenant_id, group_id=group_id)
        return None if row is None else _group(row)

    async def list_after(self, tenant_id: TenantId, after: UUID | None, limit: int) -> list[Group]:
        rows = _queries.list_groups_after(self._connection, tenant_id=tenant_id, after=after, max_rows=limit)
        return [_group(row) async for row in rows]

    async def list_from(self, tenant_id: TenantId, skip: int, limit: int) -> list[Group]:
        """By id, without the first `skip`."""
        rows = _queries.list_groups_from(self._connection, tenant_id=tenant_id, skip=skip, max_rows=limit)
        return [_group(row) async for row in rows]

    async def count(self, tenant_id: TenantId) -> int:
        found: int = await _queries.count_groups(self._connection, tenant_id=tenant_id)
        return found

    async def find_by_name(self, tenant_id: TenantId, name: str) -> Group | None:
        row = await _queries.find_group_by_name(self._connection, tenant_id=tenant_id, name=name)
        return None if row is None else _group(row)

    async def lock(self, tenant_id: TenantId, group_id: UUID) -> bool:
        """Hold off other changes of the group's members; False for a group that is not there."""
        return bool(await _queries.lock_group(self._connection, tenant_id=tenant_id, group_id=group_id))

    async def delete(self, tenant_id: TenantId, group_id: UUID) -> None:
        await _queries.delete_group(self._connection, tenant_id=tenant_id, group_id=group_id)

    async def list_members_after(
        self, tenant_id: TenantId, group_id: UUID, after: UserId | None, limit: int | None
    ) -> list[Membership]:
        rows = _queries.list_members_after(
            self._connection, tenant_id=tenant_id, group_id=group_id, after=after, max_rows=limit
        )
        return [Membership(UserId(row["user_id"]), row["added_at"]) async for row in rows]

    async def list_of(self, tenant_id: TenantId, user_id: UserId) -> list[UUID]:
        """The ids of a user's groups."""
        rows = _queries.list_groups_of(self._connection, tenant_id=tenant_id, user_id=user_id)
        return [row["group_id"] async for row in rows]

    async def add_member(self, tenant_id: TenantId, group_id: UUID, user_id: UserId, moment: datetime) -> bool:
        """False when the user was in it."""
        return bool(
            await _queries.add_member(
                self._connection, tenant_id=tenant_id, group_id=group_id, user_id=user_id, moment=moment
            )
        )

    async def remove_member(self, tenant_id: TenantId, group_id: UUID, user_id: UserId) -> bool:
        """False when the user was not in it."""
        return bool(
            await _queries.remove_member(self._connection, tenant_id=tenant_id, group_id=group_id, user_id=user_id)
        )

    @asynccontextmanager
    async def _unique_name(self) -> AsyncIterator[None]:
        try:
            yield
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name != "groups_name":
                raise
            raise GroupNameTaken from error


def _group(row: asyncpg.Record) -> Group:
    return Group(
        tenant_id=TenantId(row["tenant_id"]),
        id=row["id"],
        name=row["name"],
        members=row["members"],
        created_at=row["created_at"],
    )
