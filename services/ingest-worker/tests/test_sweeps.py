"""What is taken away without a claim: the store and the rows agree afterwards."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from docuchat_common.blobs import Blobs, BlobStoreUnavailable
from docuchat_common.db import UnitOfWork
from docuchat_common.ids import DocumentId, uuid7
from docuchat_knowledge.jobs.reembedding import ReembeddingStore
from docuchat_knowledge.spaces.repository import ensure_space
from docuchat_models.spaces import EmbeddingSpace

from .bench import TENANT, Bench
from .fakes import SPACE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def stored(bench: Bench, folder: Path) -> Bench:
    return replace(bench, sweeps=replace(bench.sweeps, blobs=Blobs(f"file://{folder}")))


async def put(folder: Path, key: str) -> None:
    path = folder / key
    await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
    await asyncio.to_thread(path.write_bytes, b"%PDF-")


def walk(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


async def begin_upload(bench: Bench, folder: Path, *, age: timedelta) -> str:
    document_id = DocumentId(uuid7())
    async with bench.registry(TENANT) as (collections, registry):
        collection = await collections.open_default(TENANT)
        await registry.begin_receiving(
            TENANT, document_id, collection_id=collection.id, uploaded_by=None, media_type="application/pdf"
        )
    await bench.rows("UPDATE knowledge.documents SET updated_at = now() - $2::interval WHERE id = $1", document_id, age)
    key = f"tenants/{TENANT}/documents/{document_id}/arriving"
    await put(folder, key)
    return key


async def test_an_abandoned_upload_goes_with_what_came_of_it(stored: Bench, folder: Path) -> None:
    """D2: what lies in the store belongs to a row, and to one that somebody still works on."""
    young = await begin_upload(stored, folder, age=timedelta(minutes=30))
    await begin_upload(stored, folder, age=timedelta(hours=2))
    await stored.sweeps.bury_abandoned(timedelta(hours=1))
    await stored.sweeps.bury_tombstones(timedelta(0))
    assert {path for path in walk(folder) if path.endswith("arriving")} == {young}
    (row,) = await stored.rows("SELECT id FROM knowledge.documents")
    assert str(row["id"]) in young


async def test_a_deletion_whose_event_was_lost_is_finished_with_files_and_folders(stored: Bench, folder: Path) -> None:
    """D4, R14."""
    await stored.claim()
    document = await stored.document()
    await put(folder, f"tenants/{TENANT}/documents/{document.id}/{document.sha256}")
    await stored.delete()
    await stored.sweeps.bury_tombstones(timedelta(0))
    assert walk(folder) == set()
    assert await stored.rows("SELECT FROM knowledge.documents") == []


class _Stuck(Blobs):
    """A store that cannot delete what lies under `prefix`."""

    prefix = ""

    async def delete_prefix(self, prefix: str) -> int:
        if prefix == self.prefix:
            raise BlobStoreUnavailable
        return await super().delete_prefix(prefix)


async def test_a_file_that_cannot_be_deleted_keeps_no_other_from_going(bench: Bench, folder: Path) -> None:
    blobs = _Stuck(f"file://{folder}")
    stored = replace(bench, sweeps=replace(bench.sweeps, blobs=blobs))
    keys = [await begin_upload(stored, folder, age=timedelta(hours=age)) for age in (4, 3, 2)]
    blobs.prefix = keys[0].removesuffix("/arriving")
    await stored.sweeps.bury_abandoned(timedelta(hours=1))
    with pytest.raises(BlobStoreUnavailable):
        await stored.sweeps.bury_tombstones(timedelta(0))
    assert {path for path in walk(folder) if path.endswith("arriving")} == {keys[0]}
    blobs.prefix = ""
    await stored.sweeps.bury_tombstones(timedelta(0))
    assert walk(folder) == set()


async def test_a_living_document_keeps_its_file(stored: Bench, folder: Path) -> None:
    await stored.claim()
    document = await stored.document()
    key = f"tenants/{TENANT}/documents/{document.id}/{document.sha256}"
    await put(folder, key)
    await stored.sweeps.remove_blobs(TENANT, document.id)
    assert key in walk(folder)
    assert await stored.sweeps.count_blobs(TENANT, document.id) == 1


async def test_a_document_that_took_its_worker_down_too_often_fails(stored: Bench) -> None:
    """R5: after its last allowed attempt it is given up, with a ticket among the dead letters."""
    await stored.claim(attempt=3)
    await stored.rows("UPDATE knowledge.documents SET lease_expires_at = now() - interval '1 s'")
    await stored.sweeps.fail_exhausted()
    document = await stored.document()
    assert (document.status.value, document.error_code, document.retryable) == ("failed", "worker_crashed", True)
    assert len(stored.around.buried) == 1
    assert [kind for kind, _ in await stored.events()] == ["document.failed.v1"]


async def test_a_ticket_from_the_dead_letters_brings_back_what_was_given_up_and_nothing_else(stored: Bench) -> None:
    """A8, R5."""
    await stored.claim(attempt=3)
    await stored.rows("UPDATE knowledge.documents SET lease_expires_at = now() - interval '1 s'")
    await stored.sweeps.fail_exhausted()
    await stored.sweeps.try_again((await stored.document()).id)
    assert ((await stored.document()).status.value, (await stored.document()).attempts) == ("queued", 0)
    await stored.rows("UPDATE knowledge.documents SET status = 'failed', error_code = 'encrypted', retryable = false")
    await stored.sweeps.try_again((await stored.document()).id)
    assert (await stored.document()).status.value == "failed"


async def test_documents_of_an_earlier_model_are_told_at_the_start(stored: Bench) -> None:
    """D10."""
    await stored.jobs.work(await stored.claim())
    with capture_logs() as before:
        await stored.sweeps.tell_space(SPACE)
    assert [entry["event"] for entry in before] == ["embedding.space"]
    newer = EmbeddingSpace("test", "newer", 2)
    async with stored.database.connect() as admin:
        await ensure_space(admin, newer)
    with capture_logs() as after:
        await stored.sweeps.tell_space(newer)
    assert (after[0]["provider"], after[0]["model"]) == ("test", "newer")
    assert (after[1]["event"], after[1]["documents"]) == ("embedding.outdated", 1)


async def test_a_reembedded_document_answers_until_it_is_replaced_in_one_step(stored: Bench) -> None:
    """D10: it is queued, keeps its generation while it waits and is read again, and gets a new one."""
    await stored.jobs.work(await stored.claim())
    newer = EmbeddingSpace("test", "newer", 2)
    async with stored.database.connect() as admin:
        await ensure_space(admin, newer)
    async with stored.database.open("gateway", max_size=2) as database:
        uow: UnitOfWork[ReembeddingStore] = UnitOfWork(
            database, lambda connection, *_: ReembeddingStore(connection), schema="knowledge", service="gateway"
        )
        async with uow.system() as store:
            assert len(await store.queue_outdated()) == 1
    claim = await stored.claim_again()
    live = "SELECT generation FROM knowledge.documents"
    (kept,) = await stored.rows(live)
    stored.around.space = newer
    await stored.jobs.work(claim)
    (replaced,) = await stored.rows("SELECT DISTINCT generation FROM knowledge.chunks")
    assert replaced["generation"] == claim.generation > kept["generation"]
    (vectors,) = await stored.rows("SELECT DISTINCT space_id FROM knowledge.chunk_vectors")
    (document,) = await stored.rows("SELECT space_id, status FROM knowledge.documents")
    assert (document["status"], document["space_id"]) == ("ready", vectors["space_id"])
