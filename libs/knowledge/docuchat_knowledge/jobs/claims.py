"""The queue as a whole: claims on documents, and the sweeps of the reconciler.

The documents row is the truth of a job; a broker message is only a ticket to take work, and the worker takes whatever
is fairest then: of the tenant with the fewest running documents the oldest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

import asyncpg

from docuchat_common.db import load_queries
from docuchat_common.ids import DocumentId, TenantId
from docuchat_knowledge.jobs.domain import Claim, QueueDepth, Tombstone, WaitingDocument
from docuchat_knowledge.jobs.rows import waiting_document

_queries = load_queries(__package__)

LOCK_CLASS = 0x0D0C_0001
"""Of the workers' signs of life (`docuchat_common.db.presence.Presence`)."""
RESTART_GRACE = timedelta(seconds=3)
"""After a restart of the server no worker holds its lock yet; for so long all count as alive."""
_EXHAUSTED_DETAIL = "The worker stopped unexpectedly each time it tried this document."


class ClaimStore:
    """What needs sight of all tenants: claiming and the sweeps (role: ingest_system, `async with uow.system()`)."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def claim(self, worker_id: int, *, lease: timedelta, max_attempts: int, recipe: str = "") -> Claim | None:
        """Take the fairest document that waits or whose worker is dead; None when there is none.

        `recipe` names how chunks are made (splitter, sizes, embedding space): an unfinished generation of another
        recipe
        is dropped instead of continued. A document that spent `max_attempts` is not handed out: see `fail_exhausted`.
        """
        row = await _queries.claim_document(
            self._connection,
            lock_class=LOCK_CLASS,
            restart_grace=RESTART_GRACE,
            max_attempts=max_attempts,
            token=uuid4(),
            worker_id=worker_id,
            lease=lease,
            recipe=recipe,
        )
        if row is None:
            return None
        place = {"tenant_id": row["tenant_id"], "document_id": row["id"], "generation": row["generation"]}
        if row["draft_is_stale"]:
            await _queries.delete_generation(self._connection, **place)
        return Claim(
            document_id=row["id"],
            tenant_id=row["tenant_id"],
            collection_id=row["collection_id"],
            token=row["claim_token"],
            generation=row["generation"],
            attempt=row["attempts"],
            resume_after=await _queries.find_last_ordinal(self._connection, **place),
            title=row["title"],
            filename=row["filename"],
            media_type=row["media_type"],
            size_bytes=row["size_bytes"],
            sha256=row["sha256"],
            blob_key=row["blob_key"],
            uploaded_by=row["uploaded_by"],
            uploaded_with=row["uploaded_with"],
            lease_expires_at=row["lease_expires_at"],
        )

    async def fail_exhausted(self, *, max_attempts: int) -> Sequence[WaitingDocument]:
        """Fail, as `worker_crashed`, the documents whose last allowed attempt died with its worker; returns them."""
        rows = [
            row
            async for row in _queries.fail_exhausted(
                self._connection,
                lock_class=LOCK_CLASS,
                restart_grace=RESTART_GRACE,
                max_attempts=max_attempts,
                detail=_EXHAUSTED_DETAIL,
            )
        ]
        return [waiting_document(row) for row in rows]

    async def requeue_given_up(self, document_id: DocumentId) -> bool:
        """Queue a document that was given up after all its attempts; False when it is none."""
        return await _queries.requeue_given_up(self._connection, document_id=document_id) is not None

    async def end_waits(self, *, tenant_id: TenantId | None = None) -> int:
        """Let the documents of one tenant, or of all, that wait for a time be taken at once; returns how many."""
        return len([row async for row in _queries.end_waits(self._connection, tenant_id=tenant_id)])

    async def list_waiting(self, *, older_than: timedelta, limit: int = 500) -> Sequence[WaitingDocument]:
        """Documents which could be claimed for `older_than` and were not: their tickets may be lost."""
        rows = [
            row
            async for row in _queries.list_waiting(
                self._connection,
                lock_class=LOCK_CLASS,
                restart_grace=RESTART_GRACE,
                older_than=older_than,
                row_limit=limit,
            )
        ]
        return [waiting_document(row) for row in rows]

    async def bury_abandoned(self, *, older_than: timedelta) -> int:
        """Turn uploads whose file never came into tombstones; returns how many."""
        return len([row async for row in _queries.bury_abandoned(self._connection, older_than=older_than)])

    async def list_tombstones(self, *, older_than: timedelta, limit: int = 100) -> Sequence[Tombstone]:
        """Deleted documents whose blob was not confirmed gone for `older_than`."""
        rows = [row async for row in _queries.list_tombstones(self._connection, older_than=older_than, row_limit=limit)]
        return [Tombstone(row["id"], row["tenant_id"], row["blob_key"]) for row in rows]

    async def purge(self, tombstone: Tombstone) -> None:
        """Take a tombstone away, after its blob is gone."""
        await _queries.purge_document(self._connection, tenant_id=tombstone.tenant_id, document_id=tombstone.id)

    async def postpone_purge(self, tombstone: Tombstone) -> None:
        """Put a tombstone whose blob could not be deleted behind the others."""
        await _queries.postpone_purge(self._connection, tenant_id=tombstone.tenant_id, document_id=tombstone.id)

    async def is_alive(self, worker_id: int) -> bool:
        """Whether the worker's process is there (`Presence`)."""
        return bool(
            await _queries.worker_is_alive(
                self._connection, lock_class=LOCK_CLASS, worker_id=worker_id, restart_grace=RESTART_GRACE
            )
        )

    async def measure_queue(self) -> QueueDepth:
        """How much waits, how much runs, and how long the oldest that could run has waited."""
        row = await _queries.measure_queue(self._connection)
        return QueueDepth(row["queued"], row["processing"], row["oldest_age"])
