"""The ingest worker's side of the knowledge base: claim, fill, swap, fail, and the sweeps of the reconciler.

The documents row is the truth of a job; a broker message is only a ticket to take work, and the worker takes whatever
is fairest then: of the tenant with the fewest running documents the oldest one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import numpy as np
import numpy.typing as npt
from docuchat_common.ids import DocumentId, TenantId

from docuchat_knowledge.domain import (
    ChunkDraft,
    Claim,
    Completion,
    EmbeddingSpace,
    QueueDepth,
    Tombstone,
    WaitingDocument,
)


class WorkerPresence:
    """A worker's sign of life: a session advisory lock, which the server drops with the worker's connection.

    So the documents of a killed worker are free at once; the lease guards against a worker that is alive and stuck.
    """

    worker_id: int
    """Key of the lock, unique among the processes of today by being random."""

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[WorkerPresence]:
        """Hold the lock on a connection of its own, renewed in the background when the server restarts."""
        raise NotImplementedError
        yield cls()


class ClaimStore:
    """What needs sight of all tenants: claiming and the sweeps (role: ingest_system, `async with uow.system()`)."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def claim(self, worker_id: int, *, lease: timedelta, max_attempts: int) -> Claim | None:
        """Take the fairest document that waits or whose worker is dead; None when there is none.

        A document whose worker died `max_attempts` times is not handed out again: see `fail_exhausted`.
        """
        raise NotImplementedError

    async def fail_exhausted(self, *, max_attempts: int) -> Sequence[WaitingDocument]:
        """Fail, as `worker_crashed`, the documents whose last allowed attempt died with its worker; returns them."""
        raise NotImplementedError

    async def list_waiting(self, *, older_than: timedelta, limit: int = 500) -> Sequence[WaitingDocument]:
        """Documents which could be claimed for `older_than` and were not: their tickets may be lost."""
        raise NotImplementedError

    async def list_tombstones(self, *, older_than: timedelta, limit: int = 100) -> Sequence[Tombstone]:
        """Deleted documents whose blob was not confirmed gone for `older_than`."""
        raise NotImplementedError

    async def purge(self, tombstone: Tombstone) -> None:
        """Take a tombstone away, after its blob is gone."""
        raise NotImplementedError

    async def measure_queue(self) -> QueueDepth:
        raise NotImplementedError


class WorkerStore:
    """Writes under a claim, within the tenant's unit of work (role: ingest, `async with uow(claim.tenant_id)`).

    Each of them raises ClaimLost when the claim's token is no longer the document's: it was deleted, or another worker
    took it over. The worker then drops the job without a word.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def renew(self, claim: Claim, *, lease: timedelta) -> None:
        """The heartbeat."""
        raise NotImplementedError

    async def record_progress(self, claim: Claim, *, pages: int | None = None, pages_done: int | None = None) -> None:
        raise NotImplementedError

    async def write_chunks(
        self,
        claim: Claim,
        space: EmbeddingSpace,
        chunks: Sequence[ChunkDraft],
        vectors: npt.NDArray[np.float32],
    ) -> None:
        """Store the next chunks of the claim's generation with their vectors, (n, d) float32, by binary COPY.

        They are not searched before `swap`. Ordinals must follow on from `claim.resume_after` or from the last call;
        chunks that are stored already are skipped, so a repeat does no harm. Raises SpaceUnknown.
        """
        raise NotImplementedError

    async def swap(self, claim: Claim, *, pages: int) -> Completion:
        """Make the claim's generation the live one, drop all others, and set the document ready."""
        raise NotImplementedError

    async def fail(self, claim: Claim, *, code: str, detail: str, retryable: bool) -> None:
        """Set the document failed and drop the unfinished generation; what was live before stays live."""
        raise NotImplementedError

    async def postpone(self, claim: Claim, *, delay: timedelta, code: str, detail: str, spends_attempt: bool) -> None:
        """Give the document back to the queue, not before `delay`; chunks written so far are kept to resume after.

        A provider's 429 does not spend an attempt; an unexplained error does.
        """
        raise NotImplementedError

    async def release(self, claim: Claim) -> None:
        """Give the document back at once and unspent: the worker is shutting down."""
        raise NotImplementedError

    async def exists(self, tenant_id: TenantId, document_id: DocumentId) -> bool:
        """Whether the document is there and not deleted."""
        raise NotImplementedError
