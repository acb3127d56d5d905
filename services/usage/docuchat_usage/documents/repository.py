"""Stored documents: what events say goes in, counters change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId
from docuchat_usage.documents.domain import StoredDocument
from docuchat_usage.quotas.domain import Period

_queries: Final = load_queries(__package__)


class DocumentRepository:
    """Stored documents on one connection of a unit of work."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def store(self, said: StoredDocument, now: datetime) -> None:
        """Count what an event says, once, in any order, and settle the upload's hold."""
        period = Period.month_of(now)
        await _queries.store(
            self._connection, **asdict(said), now=now, period_start=period.starts_at, period_end=period.ends_at
        )

    async def list_counted(self, after: UUID | None, limit: int) -> Sequence[StoredDocument]:
        """A page of the documents that count, of all tenants, by id."""
        return [
            StoredDocument(
                tenant_id=row["tenant_id"],
                document_id=row["document_id"],
                user_id=row["user_id"],
                size_bytes=row["bytes"],
                pages=row["pages"],
                generation=row["generation"],
            )
            async for row in _queries.list_counted(self._connection, after=after, page_size=limit)
        ]

    async def correct(self, row: StoredDocument, settled_before: datetime, now: datetime) -> bool:
        """Count a document as its row says, unless it was heard of since; tells whether it counts otherwise now."""
        period = Period.month_of(now)
        said = asdict(row)
        del said["hold_id"]
        changed: bool = await _queries.correct(
            self._connection,
            **said,
            settled_before=settled_before,
            now=now,
            period_start=period.starts_at,
            period_end=period.ends_at,
        )
        return changed

    async def recount(self, tenant_id: TenantId, now: datetime) -> bool:
        """Set what a tenant is charged with to the sums of its documents; tells whether it was another."""
        period = Period.month_of(now)
        changed: bool = await _queries.recount(
            self._connection, tenant_id=tenant_id, period_start=period.starts_at, period_end=period.ends_at
        )
        return changed

    async def list_tenants(self, after: int, limit: int) -> Sequence[TenantId]:
        """A page of the tenants that have budgets, by id."""
        rows = _queries.list_tenants(self._connection, after=after, page_size=limit)
        return [TenantId(row["tenant_id"]) async for row in rows]

    async def forget_deleted(self, before: datetime) -> None:
        """Forget deleted documents of which no event can be under way any more."""
        await _queries.forget_deleted(self._connection, before=before)
