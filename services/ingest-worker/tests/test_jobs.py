"""The use case against in-memory twins: what becomes of a document when each part of its way fails."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from docuchat_common.errors import QuotaExceeded, RateLimited, UpstreamUnavailable
from docuchat_common.events.catalogue import DocumentFailed, DocumentProcessing, DocumentReady, UsageRecorded
from docuchat_common.ids import CollectionId, DocumentId, TenantId, uuid7
from docuchat_ingest.chunking.chunker import Chunker
from docuchat_ingest.jobs.service import Jobs
from docuchat_ingest.pipeline.domain import Limits
from docuchat_ingest.pipeline.errors import BlobMissing
from docuchat_ingest.pipeline.service import Pipeline
from docuchat_ingest.reading.errors import ParserStarved, Unreadable
from docuchat_ingest.transaction import PatientCommits
from docuchat_knowledge.jobs.domain import Claim
from docuchat_models.embeddings import EmbeddingBatch
from docuchat_models.errors import EmbeddingRefused
from docuchat_testkit.eventually import eventually

from .fakes import Rows, Surroundings

pytestmark = pytest.mark.usefixtures("no_sockets")

LIMITS = Limits(max_pages=500, max_bytes=2**20, max_attempts=3, embedding_batch=2, lease=timedelta(seconds=30))


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def around() -> Surroundings:
    return Surroundings()


@pytest.fixture
def jobs(rows: Rows, around: Surroundings) -> Jobs:
    async def embedder() -> Surroundings:
        return around

    commit = PatientCommits(rows, timedelta(seconds=2))
    pipeline = Pipeline(
        commit=commit,
        blobs=around,
        reader=around,
        chunker=lambda: Chunker(lambda text: len(text.split()), size=16, overlap=0),
        embedder=embedder,
        quota=around,
        announcer=around,
        limits=LIMITS,
    )
    return Jobs(
        uow=rows,
        commit=commit,
        pipeline=pipeline,
        quota=around,
        announcer=around,
        dead_letters=around,
        meter=around,
        limits=LIMITS,
        worker_id=1,
        recipe="test",
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


async def test_a_document_becomes_ready_and_says_so(jobs: Jobs, rows: Rows, around: Surroundings) -> None:
    await jobs.work(claim())
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
    jobs: Jobs,
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
            await jobs.work(claim())
    else:
        await jobs.work(claim())
    assert (rows.state, rows.code, rows.spends_attempt) == (state, code, spends)
    assert (state == "failed") == any(isinstance(event, DocumentFailed) for event in rows.events)
    assert len(around.dropped) == (place == "embed")
    assert not around.buried


@pytest.mark.parametrize("error", [UpstreamUnavailable(), RuntimeError("a mistake of ours")])
async def test_the_last_attempt_ends_in_the_dead_letter_queue(
    jobs: Jobs, rows: Rows, around: Surroundings, error: Exception
) -> None:
    around.failures["embed"] = [error]
    await jobs.work(claim(attempt=LIMITS.max_attempts))
    assert rows.state == "failed"
    assert len(around.buried) == 1


async def test_work_resumes_after_the_last_stored_chunk(jobs: Jobs, rows: Rows, around: Surroundings) -> None:
    await jobs.work(claim())
    whole = list(rows.chunks)
    del rows.chunks[5:]
    rows.events.clear()
    await jobs.work(claim(attempt=2, resume_after=4))
    assert rows.chunks == whole
    assert tokens_booked(rows) == 10 * (len(whole) - 5)


async def test_tokens_of_a_failed_attempt_are_booked_once(jobs: Jobs, rows: Rows, around: Surroundings) -> None:
    original = around.embed

    async def embed(texts: Sequence[str]) -> EmbeddingBatch:
        if around.calls.count("embed") == 3:
            around.calls.append("embed")
            raise UpstreamUnavailable
        return await original(texts)

    around.embed = embed  # type: ignore[method-assign]
    with pytest.raises(UpstreamUnavailable):
        await jobs.work(claim())
    assert tokens_booked(rows) == 10 * len(rows.chunks) == 60


async def test_the_database_s_absence_is_waited_out_with_the_work_kept(
    jobs: Jobs, rows: Rows, around: Surroundings
) -> None:
    rows.away = 3
    await jobs.work(claim())
    assert rows.state == "ready"
    assert around.calls.count("read") == 1


async def test_a_lost_claim_is_dropped_without_a_word(jobs: Jobs, rows: Rows, around: Surroundings) -> None:
    rows.lost = True
    await jobs.work(claim())
    assert rows.events == []
    assert "finished lost" in around.calls


async def test_a_stop_gives_the_document_back(jobs: Jobs, rows: Rows, around: Surroundings) -> None:
    around.held = asyncio.Event()
    task = asyncio.create_task(jobs.work(claim()))
    await eventually(lambda: "embed" in around.calls)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rows.state == "released"
    assert len(around.dropped) == 1


async def test_pages_without_words_have_no_text_layer(jobs: Jobs, rows: Rows, around: Surroundings) -> None:
    around.pages = ["", " .\n ", "---"]
    await jobs.work(claim())
    assert (rows.state, rows.code) == ("failed", "no_text_layer")
    assert "hold" not in around.calls
