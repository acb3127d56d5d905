"""The use case against in-memory twins: what becomes of a document when each part of its way fails."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from docuchat_common.errors import QuotaExceeded, RateLimited, UpstreamUnavailable
from docuchat_common.events.catalogue import DocumentFailed, DocumentProcessing, DocumentReady, UsageRecorded
from docuchat_common.events.envelope import Event
from docuchat_common.ids import CollectionId, DocumentId, HoldId, TenantId, uuid7
from docuchat_ingest.chunking import Chunker
from docuchat_ingest.domain import Limits
from docuchat_ingest.errors import BlobMissing
from docuchat_ingest.extraction.parser_process import PageWindow, ParserStarved
from docuchat_ingest.extraction.reasons import Unreadable
from docuchat_ingest.ports import Transaction
from docuchat_ingest.service import IngestService
from docuchat_knowledge.jobs.domain import ChunkDraft, Claim, Completion, WaitingDocument
from docuchat_knowledge.jobs.errors import ClaimLost
from docuchat_models.embeddings import EmbeddingBatch
from docuchat_models.errors import EmbeddingRefused
from docuchat_models.spaces import EmbeddingSpace
from docuchat_testkit.eventually import eventually

pytestmark = pytest.mark.usefixtures("no_sockets")

SPACE = EmbeddingSpace("test", "words", 2)
LIMITS = Limits(max_pages=500, max_bytes=2**20, max_attempts=3, embedding_batch=2, lease=timedelta(seconds=30))
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


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def around() -> Surroundings:
    return Surroundings()


@pytest.fixture
def service(rows: Rows, around: Surroundings) -> IngestService:
    async def embedder() -> Surroundings:
        return around

    return IngestService(
        uow=rows,  # type: ignore[arg-type]
        worker_id=1,
        blobs=around,  # type: ignore[arg-type]
        reader=around,
        chunker=lambda: Chunker(lambda text: len(text.split()), size=16, overlap=0),
        embedder=embedder,
        quota=around,
        announcer=around,
        dead_letters=around,
        meter=around,
        limits=LIMITS,
        recipe="test",
        patience=timedelta(seconds=2),
    )


def claim(*, attempt: int = 1, resume_after: int = -1) -> Claim:
    return Claim(
        document_id=DocumentId(uuid7()),
        tenant_id=TenantId(1),
        collection_id=CollectionId(uuid7()),
        token=uuid4(),
        generation=1,
        attempt=attempt,
        resume_after=resume_after,
        title="A file",
        filename="file.pdf",
        media_type="application/pdf",
        size_bytes=1,
        sha256="00",
        blob_key="key",
        uploaded_by=None,
        lease_expires_at=datetime.now(UTC),
    )


def tokens_booked(rows: Rows) -> int:
    return sum(event.input_tokens for event in rows.events if isinstance(event, UsageRecorded))


async def test_a_document_becomes_ready_and_says_so(service: IngestService, rows: Rows, around: Surroundings) -> None:
    await service.work(claim())
    assert rows.state == "ready"
    kinds = [type(event) for event in rows.events]
    assert kinds[0] is DocumentProcessing
    assert kinds[-1] is DocumentReady
    usage = [event for event in rows.events if isinstance(event, UsageRecorded)]
    assert [event.hold_id is None for event in usage] == [True] * (len(usage) - 1) + [False]
    assert tokens_booked(rows) == 10 * len(rows.chunks)
    assert not around.dropped


@pytest.mark.parametrize(
    ("place", "error", "state", "code", "spends"),
    [
        ("fetch", BlobMissing(), "failed", "file_missing", None),
        ("fetch", UpstreamUnavailable(), "queued", "ingest_failed", False),
        ("read", Unreadable("encrypted"), "failed", "encrypted", None),
        ("read", Unreadable("parser_crashed"), "failed", "parser_crashed", None),
        ("read", ParserStarved(), "queued", "ingest_failed", False),
        ("hold", QuotaExceeded(), "failed", "quota_exceeded", None),
        ("hold", UpstreamUnavailable(), "queued", "ingest_failed", False),
        ("embed", RateLimited(retry_after=timedelta(seconds=7)), "queued", "embedding_unavailable", False),
        ("embed", UpstreamUnavailable(), "queued", "embedding_unavailable", True),
        ("embed", EmbeddingRefused(), "failed", "provider_refused", None),
        ("embed", RuntimeError("a mistake of ours"), "queued", "ingest_failed", True),
    ],
)
async def test_each_trouble_has_its_end(
    service: IngestService,
    rows: Rows,
    around: Surroundings,
    place: str,
    error: Exception,
    state: str,
    code: str,
    spends: bool | None,
) -> None:
    around.failures[place] = [error]
    if state == "queued":
        with pytest.raises(UpstreamUnavailable):
            await service.work(claim())
    else:
        await service.work(claim())
    assert (rows.state, rows.code, rows.spends_attempt) == (state, code, spends)
    assert (state == "failed") == any(isinstance(event, DocumentFailed) for event in rows.events)
    assert len(around.dropped) == (place == "embed")
    assert not around.buried


@pytest.mark.parametrize("error", [UpstreamUnavailable(), RuntimeError("a mistake of ours")])
async def test_the_last_attempt_ends_in_the_dead_letter_queue(
    service: IngestService, rows: Rows, around: Surroundings, error: Exception
) -> None:
    around.failures["embed"] = [error]
    await service.work(claim(attempt=LIMITS.max_attempts))
    assert rows.state == "failed"
    assert len(around.buried) == 1


async def test_work_resumes_after_the_last_stored_chunk(
    service: IngestService, rows: Rows, around: Surroundings
) -> None:
    await service.work(claim())
    whole = list(rows.chunks)
    del rows.chunks[5:]
    rows.events.clear()
    await service.work(claim(attempt=2, resume_after=4))
    assert rows.chunks == whole
    assert tokens_booked(rows) == 10 * (len(whole) - 5)


async def test_tokens_of_a_failed_attempt_are_booked_once(
    service: IngestService, rows: Rows, around: Surroundings
) -> None:
    original = around.embed

    async def embed(texts: Sequence[str]) -> EmbeddingBatch:
        if around.calls.count("embed") == 3:
            around.calls.append("embed")
            raise UpstreamUnavailable
        return await original(texts)

    around.embed = embed  # type: ignore[method-assign]
    with pytest.raises(UpstreamUnavailable):
        await service.work(claim())
    assert tokens_booked(rows) == 10 * len(rows.chunks) == 60


async def test_the_database_s_absence_is_waited_out_with_the_work_kept(
    service: IngestService, rows: Rows, around: Surroundings
) -> None:
    rows.away = 3
    await service.work(claim())
    assert rows.state == "ready"
    assert around.calls.count("read") == 1


async def test_a_lost_claim_is_dropped_without_a_word(service: IngestService, rows: Rows, around: Surroundings) -> None:
    rows.lost = True
    await service.work(claim())
    assert rows.events == []
    assert "finished lost" in around.calls


async def test_a_stop_gives_the_document_back(service: IngestService, rows: Rows, around: Surroundings) -> None:
    around.held = asyncio.Event()
    task = asyncio.create_task(service.work(claim()))
    await eventually(lambda: "embed" in around.calls)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rows.state == "released"
    assert len(around.dropped) == 1


async def test_pages_without_words_have_no_text_layer(service: IngestService, rows: Rows, around: Surroundings) -> None:
    around.pages = ["", " .\n ", "---"]
    await service.work(claim())
    assert (rows.state, rows.code) == ("failed", "no_text_layer")
    assert "hold" not in around.calls
