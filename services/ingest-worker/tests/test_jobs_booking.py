"""What a document's calls of the provider come to in the books, whatever fails; on the real database."""

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from docuchat_common.background import cancel
from docuchat_common.db import Database
from docuchat_common.errors import UpstreamUnavailable
from docuchat_ingest.pipeline.domain import Job
from docuchat_ingest.pipeline.spending import Spending
from docuchat_knowledge.jobs.domain import Claim
from docuchat_knowledge.vectors import register_vector
from docuchat_models.errors import Cost, EmbeddingInvalid, EmbeddingRefused, ProviderFailed, ProviderInterrupted
from docuchat_testkit.databases import ClonedDatabase
from docuchat_testkit.eventually import eventually

from .bench import LIMITS, Bench, make_bench, make_jobs, taken_over
from .fakes import CommitEater, Surroundings


async def test_tokens_of_a_failed_attempt_are_booked_once(bench: Bench, around: Surroundings) -> None:
    original = around.embed

    async def embed(texts):
        if around.calls.count("embed") == 3:
            around.calls.append("embed")
            raise ProviderFailed
        return await original(texts)

    around.embed = embed
    with pytest.raises(UpstreamUnavailable):
        await bench.jobs.work(await bench.claim())
    assert await bench.booked() == around.provider_tokens > 0
    assert await bench.booked(estimated=True) == 0, "a call that failed is not billed"


async def test_a_document_deleted_in_mid_embedding_is_booked_to_the_provider_s_last_token(
    bench: Bench, around: Surroundings
) -> None:
    """M2."""
    around.held = asyncio.Event()
    work = asyncio.create_task(bench.jobs.work(await bench.claim()))
    await eventually(lambda: "embed" in around.calls)
    await bench.delete()
    around.held.set()
    await work
    assert "finished lost" in around.calls
    assert await bench.booked() == around.provider_tokens > 0
    assert await bench.booked(estimated=True) == 0
    assert await bench.open_calls() == 0
    assert len(around.released) == 1


async def test_a_worker_that_stops_while_the_provider_thinks_books_what_was_expected(
    bench: Bench, around: Surroundings
) -> None:
    around.held = asyncio.Event()
    work = asyncio.create_task(bench.jobs.work(await bench.claim()))
    await eventually(lambda: "embed" in around.calls)
    await cancel(work)
    assert await bench.booked(estimated=True) > 0
    assert await bench.open_calls() == 0


async def test_a_heartbeat_that_finds_the_claim_lost_waits_for_the_provider_s_figure_and_asks_no_more(
    bench: Bench, around: Surroundings
) -> None:
    """M2, K5: the heartbeat sees the deletion before any write does."""
    jobs = make_jobs(bench.uow, around, limits=replace(LIMITS, lease=timedelta(seconds=0.15)))
    around.held = asyncio.Event()
    work = asyncio.create_task(jobs.work(await bench.claim()))
    await eventually(lambda: "embed" in around.calls)
    await bench.delete()
    seen = bench.uow.ended
    await eventually(lambda: bench.uow.ended > seen)
    around.held.set()
    await work
    assert "finished lost" in around.calls
    assert around.calls.count("embed") == 1
    assert await bench.booked() == around.provider_tokens > 0


async def test_a_worker_killed_between_answer_and_store_is_booked_by_who_takes_over(
    bench: Bench, around: Surroundings
) -> None:
    """M3: the process is gone with what it knew; its open call is booked as expected, once."""
    stopped = asyncio.Event()

    async def die(texts):
        await around.enter("embed")
        around.provider_tokens += sum(len(text.split()) for text in texts)
        stopped.set()
        await asyncio.Event().wait()

    around.embed = die
    work = asyncio.create_task(bench.jobs.pipeline.run(job_of(bench, await bench.claim())))
    await stopped.wait()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert await bench.open_calls() == 1
    await eventually(partial(taken_over, bench))
    assert await bench.booked(estimated=True) == around.provider_tokens > 0


def job_of(bench: Bench, claim: Claim) -> Job:
    return Job(claim, Spending(bench.jobs.commit, bench.jobs.metering))


@pytest.mark.parametrize("nth", range(1, 8))
async def test_a_lost_answer_to_a_commit_books_once(database: ClonedDatabase, nth: int) -> None:
    """M4: the server commits, the client hears nothing and does it again."""
    async with AsyncExitStack() as stack:
        eater = await stack.enter_async_context(CommitEater.before(database.url("ingest")))
        opened = await stack.enter_async_context(
            Database.open(
                eater.url, database.system_url("ingest"), init=register_vector, application_name="test", max_size=4
            )
        )
        bench = await make_bench(stack, database, opened)
        claim = await bench.claim()
        commits = 0
        original = bench.uow.uow

        class Counting:
            def __call__(self, tenant_id):
                nonlocal commits
                commits += 1
                if commits == nth:
                    eater.eat = 1
                return original(tenant_id)

            system = original.system

        bench.uow.uow = Counting()
        await bench.jobs.work(claim)
        assert eater.eaten == 1
        assert (await bench.document()).status.value == "ready"
        assert await bench.booked() == bench.around.provider_tokens > 0
        assert await bench.booked(estimated=True) == 0
        assert await bench.open_calls() == 0
        rows = await bench.rows("SELECT count(*) AS n FROM knowledge.provider_calls WHERE state = 'settled'")
        assert rows[0]["n"] == bench.around.calls.count("embed")


async def test_a_call_whose_answer_was_lost_is_booked_as_expected(bench: Bench, around: Surroundings) -> None:
    around.failures["answer"] = [ProviderInterrupted()]
    with pytest.raises(UpstreamUnavailable):
        await bench.jobs.work(await bench.claim())
    assert await bench.booked(estimated=True) == around.provider_tokens > 0


@pytest.mark.parametrize("error", [ProviderFailed(), EmbeddingRefused(), EmbeddingInvalid()])
async def test_an_answer_that_is_of_no_use_is_booked_as_the_provider_says(
    bench: Bench, around: Surroundings, error: ProviderFailed | EmbeddingRefused
) -> None:
    """A7: it was answered with 200, so it is billed."""
    around.failures["answer"] = [error.costing(Cost(30, 28))]
    with suppress(UpstreamUnavailable):
        await bench.jobs.work(await bench.claim())
    assert await bench.booked() == 30


async def test_a_figure_beyond_belief_is_not_booked(bench: Bench, around: Surroundings) -> None:
    """M7."""
    around.figure = 10**15
    await bench.jobs.work(await bench.claim())
    assert await bench.booked() == 0
    assert await bench.booked(estimated=True) == around.provider_tokens > 0
    assert any(kind == "usage.anomaly.v1" for kind, _ in await bench.events())
