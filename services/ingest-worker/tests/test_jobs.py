"""What becomes of a document when each part of its way fails; on the real database."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from docuchat_common.blobs import BlobCorrupt, BlobMissing, BlobTooLarge
from docuchat_common.errors import QuotaExceeded, RateLimited, UpstreamUnavailable
from docuchat_ingest.pipeline.service import cut_batches
from docuchat_ingest.reading.errors import ParserStarved, Unreadable
from docuchat_ingest.reading.formats import PageText, Problem
from docuchat_knowledge.jobs.domain import ChunkDraft
from docuchat_models.errors import (
    EmbeddingInvalid,
    EmbeddingRefused,
    ProviderFailed,
    ProviderRateLimited,
    ProviderRefused,
)
from docuchat_testkit.eventually import eventually

from .bench import LIMITS, Bench, make_jobs, taken_over
from .fakes import PAGES, Boundaries, Surroundings


async def test_a_document_becomes_ready_and_says_so(bench: Bench, around: Surroundings) -> None:
    await bench.jobs.work(await bench.claim())
    document = await bench.document()
    assert (document.status.value, document.pages, document.chunks) == ("ready", 12, len(await bench.texts()))
    events = await bench.events()
    kinds = [kind for kind, _ in events]
    assert kinds[0] == "document.processing.v1"
    assert kinds[-1] == "document.ready.v1"
    usage = [body["data"] for kind, body in events if kind == "usage.recorded.v1"]
    assert [data["hold_id"] is None for data in usage] == [True] * (len(usage) - 1) + [False]
    assert len(usage) > 2
    assert await bench.booked() == around.provider_tokens > 0
    assert await bench.open_calls() == 0
    assert not around.released


@pytest.mark.parametrize(
    ("place", "error", "state", "code", "spends"),
    [
        ("fetch", BlobMissing(), "failed", "file_missing", None),
        ("fetch", BlobCorrupt(), "failed", "file_corrupt", None),
        ("fetch", BlobTooLarge(), "failed", "too_large", None),
        ("fetch", UpstreamUnavailable(), "queued", "ingest_failed", False),
        ("read", Unreadable("encrypted"), "failed", "encrypted", None),
        ("read", Unreadable("parser_crashed"), "failed", "parser_crashed", None),
        ("read", ParserStarved(), "queued", "ingest_failed", False),
        ("hold", QuotaExceeded(), "failed", "quota_exceeded", None),
        ("hold", UpstreamUnavailable(), "queued", "ingest_failed", False),
        ("hold", RateLimited(retry_after=timedelta(seconds=2)), "queued", "quota_busy", False),
        ("embed", ProviderRateLimited(retry_after=timedelta(seconds=7)), "queued", "embedding_unavailable", False),
        ("embed", ProviderFailed(), "queued", "embedding_unavailable", True),
        ("embed", EmbeddingRefused(), "failed", "provider_refused", None),
        ("embed", ProviderRefused(), "failed", "provider_refused", None),
        ("embed", EmbeddingInvalid(), "failed", "embedding_invalid", None),
        ("embed", RuntimeError("a mistake of ours"), "queued", "ingest_failed", True),
    ],
)
async def test_each_trouble_has_its_end(
    bench: Bench, around: Surroundings, place: str, error: Exception, state: str, code: str, spends: bool | None
) -> None:
    around.failures[place] = [error]
    claim = await bench.claim()
    if state == "queued":
        with pytest.raises(UpstreamUnavailable):
            await bench.jobs.work(claim)
    else:
        await bench.jobs.work(claim)
    document = await bench.document()
    assert (document.status.value, document.error_code) == (state, code)
    if spends is not None:
        assert document.attempts == int(spends)
    assert (state == "failed") == any(kind == "document.failed.v1" for kind, _ in await bench.events())
    assert len(around.released) == (place == "embed")
    assert not around.buried
    assert await bench.open_calls() == 0


@pytest.mark.parametrize("error", [ProviderFailed(), RuntimeError("a mistake of ours")])
async def test_the_last_attempt_ends_in_the_dead_letter_queue(
    bench: Bench, around: Surroundings, error: Exception
) -> None:
    around.failures["embed"] = [error]
    await bench.jobs.work(await bench.claim(attempt=LIMITS.max_attempts))
    assert (await bench.document()).status.value == "failed"
    assert len(around.buried) == 1


async def test_work_resumes_after_the_last_stored_chunk(bench: Bench, around: Surroundings) -> None:
    await bench.jobs.work(await bench.claim())
    whole = await bench.texts()
    await bench.rows("DELETE FROM knowledge.documents")
    around.failures["answer"] = [ProviderFailed(), *[None] * 3]
    with pytest.raises(UpstreamUnavailable):
        await bench.jobs.work(await bench.claim())
    again = await bench.claim_again()
    assert 0 <= again.resume_after < len(whole) - 1
    await bench.jobs.work(again)
    assert await bench.texts() == whole
    assert around.calls.count("embed") == 2 * len(whole) / LIMITS.embedding_batch + 1, "stored batches are kept"


async def test_the_database_s_absence_is_waited_out_with_the_work_kept(bench: Bench, around: Surroundings) -> None:
    claim = await bench.claim()
    bench.uow.away = 3
    await bench.jobs.work(claim)
    assert (await bench.document()).status.value == "ready"
    assert around.calls.count("read") == 1


async def test_a_deleted_document_is_dropped_without_a_word(bench: Bench, around: Surroundings) -> None:
    claim = await bench.claim()
    await bench.delete()
    await bench.jobs.work(claim)
    assert await bench.events() == []
    assert "finished lost" in around.calls


async def test_a_stop_gives_the_document_back(bench: Bench, around: Surroundings) -> None:
    around.held = asyncio.Event()
    task = asyncio.create_task(bench.jobs.work(await bench.claim()))
    await eventually(lambda: "embed" in around.calls)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    document = await bench.document()
    assert (document.status.value, document.attempts) == ("queued", 0)
    assert len(around.released) == 1
    assert await bench.booked(estimated=True) == around.provider_tokens, "asked, not answered: booked as expected"


async def test_pages_without_words_have_no_text_layer(bench: Bench, around: Surroundings) -> None:
    around.pages = ["", " .\n ", "---"]
    await bench.jobs.work(await bench.claim())
    document = await bench.document()
    assert (document.status.value, document.error_code) == ("failed", "no_text_layer")
    assert "hold" not in around.calls


async def test_a_heartbeat_keeps_the_claim(bench: Bench, around: Surroundings) -> None:
    """K5: without it the lease would end while the provider thinks."""
    jobs = make_jobs(bench.uow, around, limits=replace(LIMITS, lease=timedelta(seconds=0.15)))
    around.held = asyncio.Event()
    work = asyncio.create_task(jobs.work(await bench.claim()))
    await eventually(lambda: "embed" in around.calls)
    (first,) = await bench.rows("SELECT lease_expires_at FROM knowledge.documents")

    async def renewed() -> None:
        (row,) = await bench.rows("SELECT lease_expires_at FROM knowledge.documents")
        assert row["lease_expires_at"] > first["lease_expires_at"] + timedelta(seconds=0.15)

    await eventually(renewed)
    around.held.set()
    await work
    assert (await bench.document()).status.value == "ready"


def test_a_batch_is_one_request() -> None:
    chunks = [ChunkDraft(n, 1, 1, 0, 1, "x", 40) for n in range(10)]
    assert [len(batch) for batch in cut_batches(chunks, 4, 1_000)] == [4, 4, 2]
    assert [len(batch) for batch in cut_batches(chunks, 4, 100)] == [2, 2, 2, 2, 2]
    assert [len(batch) for batch in cut_batches(chunks, 4, 10)] == [1] * 10
    assert cut_batches([], 4, 10) == []


async def test_pages_are_held_with_the_first_reading_only(bench: Bench, around: Surroundings) -> None:
    """D6: a document that is read again adds nothing to what is stored."""
    await bench.jobs.work(await bench.claim())
    assert around.pages_held == len(PAGES)
    (kind, body) = (await bench.events())[-1]
    assert (kind, body["data"]["pages"]) == ("document.ready.v1", len(PAGES))
    await bench.rows("UPDATE knowledge.documents SET status = 'queued'")
    await bench.jobs.work(await bench.claim_again())
    assert around.pages_held == 0


async def test_pages_that_were_not_read_are_told(bench: Bench, around: Surroundings) -> None:
    """X4."""
    around.pages = [*PAGES, PageText("", Problem.PICTURE), PageText("", Problem.GARBLED)]
    await bench.jobs.work(await bench.claim())
    document = await bench.document()
    assert (document.pages, document.pages_unread, document.warnings) == (len(PAGES) + 2, 2, ("pages_unread",))
    ready = (await bench.events())[-1][1]["data"]
    assert (ready["pages_unread"], ready["warnings"]) == (2, ["pages_unread"])


async def test_no_wait_is_longer_than_a_quarter_of_an_hour(bench: Bench, around: Surroundings) -> None:
    """D5: a provider asked for 3,170 years; the document says until when it waits, and why."""
    around.failures["embed"] = [ProviderRateLimited(retry_after=timedelta(seconds=99_999_999_999))]
    with pytest.raises(UpstreamUnavailable):
        await bench.jobs.work(await bench.claim())
    document = await bench.document()
    assert document.waiting_until is not None
    assert document.waiting_until - datetime.now(UTC) <= timedelta(minutes=15)
    assert document.error_code == "embedding_unavailable"


@pytest.mark.parametrize("point", range(20), ids=lambda point: f"R2-boundary-{point}")
async def test_stopped_at_any_boundary_the_end_is_the_same(bench: Bench, around: Surroundings, point: int) -> None:
    """R2: the process is gone between two steps; another worker ends what it began, and nothing is doubled."""
    around.boundaries = bench.uow.boundaries = undisturbed = Boundaries()
    await bench.jobs.work(await bench.claim())
    whole, steps = await bench.texts(), len(undisturbed.names)
    await bench.rows("DELETE FROM knowledge.documents")
    await bench.rows("DELETE FROM knowledge.outbox")
    around.provider_tokens = 0
    claim = await bench.claim()
    around.boundaries = bench.uow.boundaries = boundaries = Boundaries(stop_at=1 + point * (steps - 1) // 19)
    killed = asyncio.create_task(bench.jobs.work(claim))
    reached = asyncio.create_task(boundaries.reached.wait())
    # a run may take a step less than the one before it: then it is at its end, the last boundary of all
    await asyncio.wait({killed, reached}, return_when=asyncio.FIRST_COMPLETED)
    reached.cancel()
    around.boundaries = bench.uow.boundaries = Boundaries()
    if (await bench.document()).status.value != "ready":
        await bench.rows("UPDATE knowledge.documents SET lease_expires_at = now() - interval '1 s'")
        await make_jobs(bench.uow, around, worker_id=2).work(await bench.claim_again())
    await eventually(lambda: taken_over(bench))
    document = await bench.document()
    assert (document.status.value, document.pages, document.chunks) == ("ready", len(PAGES), len(whole))
    assert await bench.texts() == whole
    kinds = [kind for kind, _ in await bench.events()]
    assert kinds.count("document.ready.v1") == 1
    booked = await bench.booked() + await bench.booked(estimated=True)
    one_batch = LIMITS.embedding_batch * 16
    assert 0 <= booked - around.provider_tokens <= one_batch, "but for one call that was perhaps never made"
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    assert (await bench.document()).status.value == "ready"
