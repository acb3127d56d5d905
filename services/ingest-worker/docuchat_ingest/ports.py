"""What the use cases need from outside."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from docuchat_common.events.envelope import Event
from docuchat_common.ids import DocumentId, HoldId, TenantId
from docuchat_ingest.extraction.parser_process import PageWindow
from docuchat_knowledge.jobs.domain import ChunkDraft, Claim, Completion, QueueDepth, Tombstone, WaitingDocument
from docuchat_models.spaces import EmbeddingSpace


class Outbox(Protocol):
    def add(self, event: Event) -> None: ...


class Claims(Protocol):
    """Across all tenants: see `docuchat_knowledge.jobs.repository.ClaimStore`."""

    async def claim(self, worker_id: int, *, lease: timedelta, max_attempts: int, recipe: str = "") -> Claim | None: ...

    async def fail_exhausted(self, *, max_attempts: int) -> Sequence[WaitingDocument]: ...

    async def requeue_failed(
        self, *, document_id: DocumentId | None = None, limit: int = 500
    ) -> Sequence[WaitingDocument]: ...

    async def list_tombstones(self, *, older_than: timedelta, limit: int = 100) -> Sequence[Tombstone]: ...

    async def purge(self, tombstone: Tombstone) -> None: ...

    async def measure_queue(self) -> QueueDepth: ...


class Writes(Protocol):
    """Under a claim, each raising ClaimLost: see `docuchat_knowledge.jobs.repository.WorkerStore`."""

    async def renew(self, claim: Claim, *, lease: timedelta) -> None: ...

    async def record_progress(
        self, claim: Claim, *, pages: int | None = None, pages_done: int | None = None
    ) -> None: ...

    async def write_chunks(
        self,
        claim: Claim,
        space: EmbeddingSpace,
        chunks: Sequence[ChunkDraft],
        vectors: npt.NDArray[np.float32],
    ) -> None: ...

    async def swap(self, claim: Claim, *, pages: int) -> Completion: ...

    async def fail(self, claim: Claim, *, code: str, detail: str, retryable: bool) -> None: ...

    async def postpone(
        self, claim: Claim, *, delay: timedelta, code: str, detail: str, spends_attempt: bool
    ) -> None: ...

    async def release(self, claim: Claim) -> None: ...

    async def exists(self, tenant_id: TenantId, document_id: DocumentId) -> bool: ...


@dataclass(frozen=True, slots=True)
class Transaction:
    """One unit of work. `claims` works in a system transaction, `writes` within a tenant's."""

    claims: Claims
    writes: Writes
    outbox: Outbox


class IngestUnitOfWork(Protocol):
    def __call__(self, tenant_id: TenantId) -> AbstractAsyncContextManager[Transaction]: ...

    def system(self) -> AbstractAsyncContextManager[Transaction]: ...


class BlobStore(Protocol):
    async def fetch(self, key: str, target: Path, *, max_bytes: int) -> bool:
        """Write the object to `target`; False when it is larger than `max_bytes`. Raises BlobMissing."""
        ...

    async def delete_document(self, tenant_id: TenantId, document_id: DocumentId) -> int:
        """Delete every object of the document; returns how many there were."""
        ...


class DocumentReader(Protocol):
    def read(self, path: Path, media_type: str) -> AsyncGenerator[PageWindow, None]:
        """Raises Unreadable with the reason, ParserStarved."""
        ...


class Quota(Protocol):
    """Holds at the usage service."""

    async def hold(self, claim: Claim, model: str, tokens: int, lease: timedelta) -> HoldId:
        """Raises QuotaExceeded, UpstreamUnavailable."""
        ...

    async def renew(self, hold_id: HoldId, lease: timedelta, tokens: int | None = None) -> None:
        """Keep the hold, with fewer tokens when told so; failing is logged, not raised."""
        ...

    async def drop(self, hold_id: HoldId) -> None:
        """Nothing of it was used; failing is logged, the lease ends it anyway."""
        ...


class Announcer(Protocol):
    async def announce(self, tenant_id: TenantId, document_id: DocumentId) -> None:
        """Tell who watches that the document's row changed; never raises, watchers also poll."""
        ...


class DeadLetters(Protocol):
    async def bury(self, document: WaitingDocument) -> None:
        """Leave a ticket of the document in the dead-letter queue; never raises, the row has the truth."""
        ...


class Meter(Protocol):
    """Metrics."""

    def finished(self, outcome: str) -> None: ...

    def stage(self, name: str, seconds: float) -> None: ...

    def queue(self, depth: QueueDepth) -> None: ...
