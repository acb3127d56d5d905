"""Collections of one tenant."""

from __future__ import annotations

import asyncpg

from docuchat_common.db import load_queries
from docuchat_common.ids import CollectionId, TenantId, uuid7
from docuchat_knowledge.collections.domain import Collection
from docuchat_knowledge.collections.errors import CollectionNotFound

_queries = load_queries(__package__)


class CollectionRepository:
    """Collections of one tenant, within the caller's unit of work (role: gateway)."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def open_default(self, tenant_id: TenantId) -> Collection:
        """The tenant's default collection, made when there is none; safe when called by many at once."""
        row = await _queries.find_default_collection(self._connection, tenant_id=tenant_id)
        if row is None:
            await _queries.insert_default_collection(self._connection, tenant_id=tenant_id, collection_id=uuid7())
            row = await _queries.find_default_collection(self._connection, tenant_id=tenant_id)
        return _collection(row)

    async def get(self, tenant_id: TenantId, collection_id: CollectionId) -> Collection:
        """Raises CollectionNotFound."""
        row = await _queries.find_collection(self._connection, tenant_id=tenant_id, collection_id=collection_id)
        if row is None:
            raise CollectionNotFound
        return _collection(row)


def _collection(row: asyncpg.Record) -> Collection:
    return Collection(
        id=row["id"],
        tenant_id=row["tenant_id"],
        name=row["name"],
        is_default=row["is_default"],
        document_count=row["document_count"],
        chunk_count=row["chunk_count"],
        created_at=row["created_at"],
    )
