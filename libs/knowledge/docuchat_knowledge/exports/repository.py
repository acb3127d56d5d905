"""Exports: rows in, domain objects out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from docuchat_common.db import load_queries
from docuchat_common.exporting import Exported
from docuchat_common.ids import TenantId
from docuchat_knowledge.exports.domain import Export, ExportClaim, ExportState, StoredFile
from docuchat_knowledge.exports.errors import ExportNotFound, ExportRunning

_queries = load_queries(__package__)
ROWS: Final[Any] = load_queries(__package__, "exports.sql")
"""What the archive has of the knowledge base, for `docuchat_common.exporting.Exporter`."""
FILES: Final = ("collections", "documents")


class ExportRepository:
    """The exports of a tenant (role: gateway)."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def request(
        self, tenant_id: TenantId, export_id: UUID, *, user_id: UUID | None, requested_by: UUID
    ) -> Export:
        """Ask for an archive. Raises ExportRunning while one of the same kind is made."""
        kind = {"tenant_id": tenant_id, "user_id": user_id}
        row = await _queries.insert_export(self._connection, **kind, export_id=export_id, requested_by=requested_by)
        if row is None:
            raise ExportRunning(export_id=str(await _queries.find_unfinished(self._connection, **kind)))
        return _export(row)

    async def get(self, tenant_id: TenantId, export_id: UUID) -> Export:
        """Raises ExportNotFound, also for one that has expired."""
        row = await _queries.find_export(self._connection, tenant_id=tenant_id, export_id=export_id)
        if row is None:
            raise ExportNotFound
        return _export(row)

    async def page(
        self,
        tenant_id: TenantId,
        *,
        of_tenant: bool,
        of_everybody: bool,
        of_user: UUID | None,
        before: UUID | None,
        limit: int,
    ) -> Sequence[Export]:
        """Newest first: the tenant's own, those of one person, and those that others asked for of all people."""
        rows = _queries.list_exports(
            self._connection,
            tenant_id=tenant_id,
            of_tenant=of_tenant,
            of_everybody=of_everybody,
            of_user=of_user,
            before=before,
            page_size=limit,
        )
        return [_export(row) async for row in rows]


class ExportWork:
    """What a worker does with exports (role: ingest; `claim`, `list_expired` and `delete` in a system transaction)."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def claim(
        self, worker_id: int, lock_class: int, restart_grace: timedelta, *, most_attempts: int, lifetime: timedelta
    ) -> ExportClaim | None:
        """One that waits, or whose worker is dead, of the tenant that has waited longest for its turn.

        For a worker that is at none. What was not finished by so many workers has failed, and is told for `lifetime`.
        """
        row = await _queries.claim_export(
            self._connection,
            worker_id=worker_id,
            lock_class=lock_class,
            restart_grace=restart_grace,
            most_attempts=most_attempts,
            lifetime=lifetime,
        )
        if row is None:
            return None
        return ExportClaim(row["id"], row["tenant_id"], row["user_id"], row["requested_by"], row["attempts"])

    async def finish(self, claim: ExportClaim, blob_key: str, size_bytes: int, lifetime: timedelta) -> datetime | None:
        """Show the archive, and no older one of its kind; when it expires, None when the claim is good no more."""
        expires_at: datetime | None = None
        row = await _queries.finish_export(
            self._connection, **_under(claim), blob_key=blob_key, size_bytes=size_bytes, lifetime=lifetime
        )
        if row is not None:
            expires_at = row["expires_at"]
            await _queries.replace_older(self._connection, tenant_id=claim.tenant_id, export_id=claim.id)
        return expires_at

    async def postpone(self, claim: ExportClaim, most_attempts: int, lifetime: timedelta) -> None:
        """Try again later, each time later, and after so many attempts no more."""
        await _queries.postpone_export(
            self._connection, **_under(claim), most_attempts=most_attempts, lifetime=lifetime
        )

    async def expire_of(self, tenant_id: TenantId, user_id: UUID) -> int:
        """Let the archives of a person be taken away; returns how many."""
        status: str = await _queries.expire_exports_of(self._connection, tenant_id=tenant_id, user_id=user_id)
        return int(status.rpartition(" ")[2])

    async def list_expired(self, limit: int) -> Sequence[tuple[TenantId, UUID]]:
        """Exports whose time is over."""
        rows = _queries.list_expired(self._connection, row_limit=limit)
        return [(row["tenant_id"], row["id"]) async for row in rows]

    async def delete(self, export_id: UUID) -> None:
        """Forget an export, after its archive is gone."""
        await _queries.delete_export(self._connection, export_id=export_id)

    async def find_readable(self) -> Sequence[UUID]:
        """The collections that the caller may read whom the transaction is for."""
        found: Sequence[UUID] = await _queries.find_readable(self._connection)
        return found

    async def list_files(self, whose: Exported, *, after: UUID | None, limit: int) -> Sequence[StoredFile]:
        """The originals of the tenant's documents, or of one person's as far as the person may read them, by id."""
        rows = _queries.list_files(
            self._connection,
            tenant_id=whose.tenant_id,
            user_id=whose.user_id,
            collection_ids=whose.collection_ids,
            after=after,
            row_limit=limit,
        )
        return [StoredFile(row["id"], row["media_type"], row["blob_key"]) async for row in rows]


def _under(claim: ExportClaim) -> dict[str, Any]:
    return {"tenant_id": claim.tenant_id, "export_id": claim.id, "attempt": claim.attempt}


def _export(row: asyncpg.Record) -> Export:
    return Export(**{**row, "state": ExportState(row["state"])})
