import asyncio
from datetime import timedelta

import numpy as np
import pytest

from docuchat_common.db.presence import Presence
from docuchat_common.ids import TenantId
from docuchat_knowledge.collections.repository import CollectionRepository
from docuchat_knowledge.documents.domain import DocumentStatus
from docuchat_knowledge.documents.repository import DocumentRegistry
from docuchat_knowledge.jobs.claims import LOCK_CLASS, ClaimStore
from docuchat_knowledge.jobs.errors import ChunksOutOfOrder, ClaimLost
from docuchat_knowledge.jobs.repository import WorkerStore
from docuchat_knowledge.spaces.errors import SpaceUnknown
from docuchat_models.spaces import EmbeddingSpace
from docuchat_testkit.eventually import eventually


async def test_each_document_is_claimed_once_by_workers_at_once(knowledge, worker):
    documents = {(await knowledge.upload(1 + number % 3)).id for number in range(12)}
    claims = await asyncio.gather(*(knowledge.claim(worker.process_id) for _ in range(12)))
    # a claim that met a row in another's hands may come back empty; its ticket is tried again
    while len([c for c in claims if c]) < 12 and (late := await knowledge.claim(worker.process_id)):
        claims.append(late)
    assert {claim.document_id for claim in claims if claim} == documents
    assert len([claim for claim in claims if claim]) == 12
    assert await knowledge.claim(worker.process_id) is None


async def test_a_small_tenant_does_not_wait_behind_a_large_one(knowledge, worker):
    for _ in range(10):
        await knowledge.upload(1)
    small = await knowledge.upload(2)
    tenants = [(await knowledge.claim(worker.process_id)).tenant_id for _ in range(4)]
    assert tenants == [1, 2, 1, 1]
    assert (await knowledge.get(small)).status is DocumentStatus.PROCESSING


async def test_a_killed_workers_document_is_free_at_once(knowledge, worker):
    document = await knowledge.upload(1)
    async with Presence.open(knowledge.database.system_url("ingest"), LOCK_CLASS) as doomed:
        claim = await knowledge.claim(doomed.process_id)
        assert await knowledge.claim(worker.process_id) is None
    second = await eventually(lambda: _claimed(knowledge, worker))
    assert (second.document_id, second.attempt) == (document.id, 2)
    with pytest.raises(ClaimLost):
        await knowledge.write(claim, [knowledge.draft(0, "late")])
    with pytest.raises(ClaimLost):
        await knowledge.swap(claim)


async def _claimed(knowledge, worker):
    claim = await knowledge.claim(worker.process_id)
    assert claim is not None
    return claim


async def test_a_stuck_workers_lease_runs_out_and_a_heartbeat_keeps_it(knowledge, worker):
    await knowledge.upload(1)
    claim = await knowledge.claim(worker.process_id, lease=timedelta(milliseconds=1))
    async with knowledge.transaction("ingest", 1) as connection:
        await WorkerStore(connection).renew(claim, lease=timedelta(minutes=1))
    assert await knowledge.claim(worker.process_id) is None
    async with knowledge.transaction("ingest", 1) as connection:
        await WorkerStore(connection).renew(claim, lease=timedelta(0))
    assert (await knowledge.claim(worker.process_id)).token != claim.token


async def test_a_document_that_kills_its_workers_fails_at_last(knowledge, worker):
    document = await knowledge.upload(1)
    for _ in range(2):
        claim = await knowledge.claim(worker.process_id, lease=timedelta(0), max_attempts=2)
        await knowledge.write(claim, [knowledge.draft(claim.resume_after + 1, "text")])
    assert await knowledge.claim(worker.process_id, max_attempts=2) is None
    async with knowledge.transaction("ingest", None) as connection:
        failed = await ClaimStore(connection).fail_exhausted(max_attempts=2)
    assert [f.document_id for f in failed] == [document.id]
    seen = await knowledge.get(document)
    assert (seen.status, seen.error_code) == (DocumentStatus.FAILED, "worker_crashed")
    assert await knowledge.count("chunks", 1) == 0


async def test_the_swap_shows_the_new_generation_and_drops_the_old(knowledge, worker):
    document = await knowledge.ingest_texts(worker, 1, ["old pears", "old plums"])
    assert (await knowledge.get(document)).chunks == 2
    async with knowledge.database.connect() as admin:
        await admin.execute("UPDATE knowledge.documents SET status = 'queued'")
    claim = await knowledge.claim(worker.process_id)
    await knowledge.write(claim, [knowledge.draft(0, "new cherries")])
    assert [c.text for c in await knowledge.search(1, "cherries")] == []
    assert len(await knowledge.search(1, "pears")) == 1
    done = await knowledge.swap(claim)
    assert (done.chunks, done.generation, done.pages) == (1, 2, 1)
    assert await knowledge.search(1, "pears") == []
    assert [c.text for c in await knowledge.search(1, "cherries")] == ["new cherries"]
    assert await knowledge.count("chunks", 1) == await knowledge.count("chunk_vectors", 1) == 1
    async with knowledge.transaction("gateway", 1) as connection:
        assert (await CollectionRepository(connection).open_default(TenantId(1))).chunk_count == 1


async def test_a_postponed_document_goes_on_after_its_last_chunk(knowledge, worker):
    document = await knowledge.upload(1)
    claim = await knowledge.claim(worker.process_id, recipe="400/40")
    await knowledge.write(claim, [knowledge.draft(0, "a"), knowledge.draft(1, "b")])
    async with knowledge.transaction("ingest", 1) as connection:
        await WorkerStore(connection).postpone(
            claim, delay=timedelta(0), code="rate_limited", detail="429", spends_attempt=False
        )
    waiting = await knowledge.get(document)
    assert (waiting.status, waiting.attempts, waiting.error_code) == (DocumentStatus.QUEUED, 0, "rate_limited")
    again = await knowledge.claim(worker.process_id, recipe="400/40")
    assert (again.resume_after, again.attempt) == (1, 1)
    await knowledge.write(again, [knowledge.draft(1, "b"), knowledge.draft(2, "c")])
    assert (await knowledge.swap(again)).chunks == 3


async def test_an_unfinished_generation_of_another_recipe_is_not_continued(knowledge, worker):
    await knowledge.upload(1)
    claim = await knowledge.claim(worker.process_id, lease=timedelta(0), recipe="400/40")
    await knowledge.write(claim, [knowledge.draft(0, "a")])
    again = await knowledge.claim(worker.process_id, recipe="200/20")
    assert again.resume_after == -1
    assert await knowledge.count("chunks", 1) == 0


async def test_a_postponed_document_is_left_alone_until_its_time(knowledge, worker):
    await knowledge.upload(1)
    claim = await knowledge.claim(worker.process_id)
    async with knowledge.transaction("ingest", 1) as connection:
        await WorkerStore(connection).postpone(
            claim, delay=timedelta(hours=1), code="rate_limited", detail="429", spends_attempt=True
        )
    assert await knowledge.claim(worker.process_id) is None


async def test_chunks_must_follow_on(knowledge, worker):
    await knowledge.upload(1)
    claim = await knowledge.claim(worker.process_id)
    with pytest.raises(ChunksOutOfOrder):
        await knowledge.write(claim, [knowledge.draft(1, "gap")])


async def test_an_unknown_space_is_refused(knowledge, worker):
    await knowledge.upload(1)
    claim = await knowledge.claim(worker.process_id)
    async with knowledge.transaction("ingest", 1) as connection:
        with pytest.raises(SpaceUnknown):
            await WorkerStore(connection).write_chunks(
                claim, EmbeddingSpace("nobody", "none", 4), [knowledge.draft(0, "x")], np.ones((1, 4), np.float32)
            )


@pytest.mark.parametrize("step", ["claimed", "written", "half written", "swapped"])
async def test_deleting_at_any_step_of_ingestion_leaves_nothing(knowledge, worker, step):
    document = await knowledge.upload(1)
    claim = await knowledge.claim(worker.process_id)
    if step != "claimed":
        await knowledge.write(claim, [knowledge.draft(0, "a"), knowledge.draft(1, "b")])
    if step == "swapped":
        await knowledge.swap(claim)
    async with knowledge.transaction("gateway", 1) as connection:
        await DocumentRegistry(connection).delete(TenantId(1), document.id)
    if step != "swapped":
        for late in (knowledge.write(claim, [knowledge.draft(2, "c")]), knowledge.swap(claim)):
            with pytest.raises(ClaimLost):
                await late
    assert await knowledge.claim(worker.process_id) is None
    async with knowledge.transaction("ingest", None) as connection:
        store = ClaimStore(connection)
        assert await store.list_waiting(older_than=timedelta(0)) == []
        (tombstone,) = await store.list_tombstones(older_than=timedelta(0))
        await store.purge(tombstone)
    for table in ("documents", "chunks", "chunk_vectors"):
        assert await knowledge.count(table, 1) == 0


async def test_deletion_and_ingestion_at_once_leave_nothing(knowledge, worker):
    async def ingest(claim):
        for number in range(4):
            await knowledge.write(claim, [knowledge.draft(number, "text")])
        await knowledge.swap(claim)

    async def delete(document, after):
        for _ in range(after):
            await knowledge.get(document)
        async with knowledge.transaction("gateway", document.tenant_id) as connection:
            await DocumentRegistry(connection).delete(document.tenant_id, document.id)

    for number in range(20):
        document = await knowledge.upload(1)
        claim = await knowledge.claim(worker.process_id)
        outcomes = await asyncio.gather(ingest(claim), delete(document, number % 10), return_exceptions=True)
        assert all(outcome is None or isinstance(outcome, ClaimLost) for outcome in outcomes), outcomes
        assert await knowledge.count("chunks", 1) == await knowledge.count("chunk_vectors", 1) == 0
    async with knowledge.transaction("gateway", 1) as connection:
        assert (await CollectionRepository(connection).open_default(TenantId(1))).chunk_count == 0


async def test_progress_and_the_queue_are_seen(knowledge, worker):
    document = await knowledge.upload(1)
    await knowledge.upload(1)
    claim = await knowledge.claim(worker.process_id)
    async with knowledge.transaction("ingest", 1) as connection:
        store = WorkerStore(connection)
        await store.record_progress(claim, pages=10)
        await store.record_progress(claim, pages_done=4)
        assert await store.exists(TenantId(1), document.id)
    seen = await knowledge.get(document)
    assert (seen.pages, seen.pages_done, seen.queue_position) == (10, 4, None)
    assert seen.eta_seconds > 0
    async with knowledge.transaction("ingest", None) as connection:
        store = ClaimStore(connection)
        depth = await store.measure_queue()
        assert len(await store.list_waiting(older_than=timedelta(0))) == 1
        assert await store.list_waiting(older_than=timedelta(hours=1)) == []
    assert (depth.queued, depth.processing) == (1, 1)
    assert depth.oldest_age >= timedelta(0)
    async with knowledge.transaction("ingest", 1) as connection:
        await WorkerStore(connection).release(claim)
    assert (await knowledge.get(document)).attempts == 0


async def test_whether_a_worker_is_alive_is_seen_at_once(knowledge, worker):
    async with knowledge.transaction("ingest", None) as connection:
        assert await ClaimStore(connection).is_alive(worker.process_id)
    async with Presence.open(knowledge.database.system_url("ingest"), LOCK_CLASS) as doomed:
        gone = doomed.process_id

    async def seen() -> bool:
        async with knowledge.transaction("ingest", None) as connection:
            return not await ClaimStore(connection).is_alive(gone)

    await eventually(seen)


async def test_after_a_restart_of_the_server_every_worker_counts_as_alive_for_a_moment(knowledge, worker):
    asked = "SELECT $1::bigint <@ knowledge.living_v1($2, $3)"
    nobody = worker.process_id ^ 1
    async with knowledge.transaction("ingest", None) as connection:
        since_the_start = await connection.fetchval("SELECT now() - pg_postmaster_start_time()")
        for grace in (timedelta(0), since_the_start):
            assert await connection.fetchval(asked, worker.process_id, LOCK_CLASS, grace)
            assert not await connection.fetchval(asked, nobody, LOCK_CLASS, grace)
        for process in (worker.process_id, nobody, 2**31 - 1):
            assert await connection.fetchval(asked, process, LOCK_CLASS, since_the_start + timedelta(seconds=1))
        assert not await connection.fetchval(asked, worker.process_id, LOCK_CLASS + 1, timedelta(0))


async def test_an_operator_ends_the_waiting(knowledge, worker):
    for tenant in (1, 2):
        await knowledge.upload(tenant)
        claim = await knowledge.claim(worker.process_id)
        async with knowledge.transaction("ingest", tenant) as connection:
            await WorkerStore(connection).postpone(
                claim, delay=timedelta(hours=1), code="rate_limited", detail="429", spends_attempt=False
            )
    assert await knowledge.claim(worker.process_id) is None
    async with knowledge.transaction("gateway", None) as connection:
        assert await ClaimStore(connection).end_waits(tenant_id=TenantId(2)) == 1
    assert (await knowledge.claim(worker.process_id)).tenant_id == 2
    async with knowledge.transaction("ingest", None) as connection:
        assert await ClaimStore(connection).end_waits() == 1
    assert (await knowledge.claim(worker.process_id)).tenant_id == 1


async def test_a_vector_of_another_dimension_is_refused(knowledge, worker):
    await knowledge.upload(1)
    claim = await knowledge.claim(worker.process_id)
    with pytest.raises(ValueError, match="dimensions"):
        await knowledge.write(claim, [knowledge.draft(0, "x")], knowledge.axis(0)[None, :3])
