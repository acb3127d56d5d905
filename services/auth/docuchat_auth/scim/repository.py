"""A directory's names for users and groups, in Postgres."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import asyncpg

from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId, UserId

_queries: Any = load_queries("docuchat_auth.scim")


class ExternalIdRepository:
    """Of the transaction's tenant."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def put_user(self, tenant_id: TenantId, user_id: UserId, external_id: str) -> None:
        await _queries.put_user_external_id(
            self._connection, tenant_id=tenant_id, user_id=user_id, external_id=external_id
        )

    async def put_group(self, tenant_id: TenantId, group_id: UUID, external_id: str) -> None:
        await _queries.put_group_external_id(
            self._connection, tenant_id=tenant_id, group_id=group_id, external_id=external_id
        )

    async def list_of(self, tenant_id: TenantId, ids: Iterable[UUID]) -> dict[UUID, str]:
        rows = _queries.list_external_ids(self._connection, tenant_id=tenant_id, ids=list(ids))
        return {row["object_id"]: row["external_id"] async for row in rows}

    async def find_user(self, tenant_id: TenantId, external_id: str) -> UserId | None:
        found: UserId | None = await _queries.find_by_external_id(
            self._connection, tenant_id=tenant_id, external_id=external_id, is_user=True
        )
        return found

    async def find_group(self, tenant_id: TenantId, external_id: str) -> UUID | None:
        found: UUID | None = await _queries.find_by_external_id(
            self._connection, tenant_id=tenant_id, external_id=external_id, is_user=False
        )
        return found
