"""Stand-ins for what surrounds a job."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.envelope import Event
from docuchat_common.ids import DocumentId, HoldId, TenantId
from docuchat_ingest.reading.process.pool import PageWindow
from docuchat_ingest.transaction import Transaction
from docuchat_knowledge.jobs.domain import ChunkDraft, Claim, Completion, WaitingDocument
from docuchat_knowledge.jobs.errors import ClaimLost
from docuchat_models.embeddings import EmbeddingBatch
from docuchat_models.spaces import EmbeddingSpace

SPACE = EmbeddingSpace("test", "words", 2)
PAGES = [f"Page {n} speaks of matter {n} at some length, and then it ends." for n in range(12)]


@dataclass
class Rows:
    """The documents table and the outbox; a transaction that raises leaves them as they were."""

    chunks: list[ChunkDraft] = field(default_factory=list)
    state: str = "processing"
    code: str | None = None
    spends_attempt: bool | None = None
    events: list[Event] = field(default_factory=list)
    away: int = 0
    lost: bool = False

    def __call__(self, tenant_id: TenantId) -> "_Tx":
        return _Tx(self)

    def system(self) -> "_Tx":
        return _Tx(self)

    async def renew(self, claim: Claim, *, lease: timedelta) -> None:
        self._held()

    async def record_progress(self, claim: Claim, *, pages: int | None = None, pages_done: int | None = None) -> None:
        self._held()

    async def write_chunks(self, claim: Claim, space: EmbeddingSpace, chunks: Sequence[ChunkDraft], vectors) -> None:
        self._held()
        assert vectors.shape == (len(chunks), space.dimension)
        assert [chunk.ordinal for chunk in chunks] == list(range(len(self.chunks), len(self.chunks) + len(chunks)))
        self.chunks.extend(chunks)

    async def swap(self, claim: Claim, *, pages: int) -> Completion:
        self._held()
        self.state = "ready"
        return Completion(claim.document_id, pages, len(self.chunks), 1, claim.generation)

    async def fail(self, claim: Claim, *, code: str, detail: str, retryable: bool) -> None:
        self._held()
        self.state, self.code = "failed", code

    async def postpone(self, claim: Claim, *, delay: timedelta, code: str, detail: str, spends_attempt: bool) -> None:
        self._held()
        self.state, self.code, self.spends_attempt = "queued", code, spends_attempt

    async def release(self, claim: Claim) -> None:
        self._held()
        self.state = "released"

    def _held(self) -> None:
        if self.lost:
            raise ClaimLost


class _Tx:
    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._events: list[Event] = []

    def add(self, event: Event) -> None:
        self._events.append(event)

    async def __aenter__(self) -> Transaction:
        if self._rows.away:
            self._rows.away -= 1
            raise UpstreamUnavailable
        self._before = len(self._rows.chunks), self._rows.state
        return Transaction(claims=self._rows, writes=self._rows, outbox=self)  # type: ignore[arg-type]

    async def __aexit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._rows.events.extend(self._events)
        else:
            del self._rows.chunks[self._before[0] :]
            self._rows.state = self._before[1]


@dataclass
class Surroundings:
    """Every other port; each call may be told to fail once or always."""

    failures: dict[str, list[Exception]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    dropped: list[HoldId] = field(default_factory=list)
    buried: list[WaitingDocument] = field(default_factory=list)
    pages: list[str] = field(default_factory=lambda: list(PAGES))
    space: EmbeddingSpace = SPACE
    held: asyncio.Event | None = None

    def _enter(self, name: str) -> None:
        self.calls.append(name)
        if waiting := self.failures.get(name):
            raise waiting.pop(0)

    async def fetch(self, key: str, target: Path, *, max_bytes: int) -> bool:
        self._enter("fetch")
        return True

    async def read(self, path: Path, media_type: str) -> AsyncGenerator[PageWindow, None]:
        self._enter("read")
        for page in self.pages:
            yield PageWindow(len(self.pages), [page])

    async def embed(self, texts: Sequence[str]) -> EmbeddingBatch:
        self._enter("embed")
        if self.held:
            await self.held.wait()
        return EmbeddingBatch(np.ones((len(texts), 2), np.float32), 10 * len(texts), estimated=False)

    async def hold(self, claim: Claim, model: str, tokens: int, lease: timedelta) -> HoldId:
        self._enter("hold")
        return HoldId(uuid4())

    async def renew(self, hold_id: HoldId, lease: timedelta, tokens: int | None = None) -> None:
        self._enter("renew")

    async def drop(self, hold_id: HoldId) -> None:
        self.dropped.append(hold_id)

    async def announce(self, tenant_id: TenantId, document_id: DocumentId) -> None:
        self.calls.append("announce")

    async def bury(self, document: WaitingDocument) -> None:
        self.buried.append(document)

    def finished(self, outcome: str) -> None:
        self.calls.append(f"finished {outcome}")

    def stage(self, name: str, seconds: float) -> None:
        pass

    def queue(self, depth: object) -> None:
        pass
