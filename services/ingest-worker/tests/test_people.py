"""What a removed user leaves behind among the documents: nothing under that id, whatever comes when."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.ids import CollectionId, DocumentId, TenantId, UserId, uuid7
from docuchat_common.removals import RemovedUser
from docuchat_ingest.jobs.removals import Removals
from docuchat_knowledge.collections.domain import Access, Visibility
from docuchat_knowledge.documents.domain import NewDocument
from docuchat_knowledge.jobs.errors import ClaimLost

from .bench import TENANT, Bench

EVE, BOB, ANN = (UserId(uuid7()) for _ in range(3))
ADMIN = Caller(TENANT, "user", uuid7(), role="admin")


@pytest.fixture
def removals(bench: Bench) -> Removals:
    return make_removals(bench)


def make_removals(bench: Bench) -> Removals:
    """Whose documents are quoted twice and have one object each, as long as nobody heard of their deletion."""
    forgotten: set[DocumentId] = set()

    async def forget_quotes(_: TenantId, document_id: DocumentId) -> int:
        quotes = 0 if document_id in forgotten or document_id not in await uploaders(bench) else 2
        forgotten.add(document_id)
        return quotes

    async def count_blobs(_: TenantId, document_id: DocumentId) -> int:
        return 1 if document_id in await uploaders(bench) else 0

    async def remove_blobs(*_: object) -> None:
        """The event's handler was quicker."""

    async def delete_archives() -> None:
        """There are none."""

    return Removals(bench.uow, bench.around, forget_quotes, count_blobs, remove_blobs, delete_archives)


def gone(user: UserId, heir: UserId | None = None, *keys: UUID) -> RemovedUser:
    return RemovedUser(TENANT, user, keys, heir)


async def add(bench: Bench, uploader: UUID | None, content: str = "") -> UUID:
    """A document that waits."""
    document_id = DocumentId(uuid7())
    async with bench.registry(TENANT) as (collections, registry):
        collection = await collections.open_default(TENANT)
        place = {"collection_id": collection.id, "uploaded_by": uploader, "media_type": "application/pdf"}
        await registry.begin_receiving(TENANT, document_id, **place)
        await registry.register(new_document(document_id, collection.id, uploader, content))
    return document_id


def new_document(document_id: DocumentId, collection_id: UUID, uploader: UUID | None, content: str) -> NewDocument:
    return NewDocument(
        id=document_id,
        tenant_id=TENANT,
        collection_id=CollectionId(collection_id),
        title="A file",
        filename="file.pdf",
        media_type="application/pdf",
        size_bytes=1,
        sha256=content or document_id.hex,
        blob_key="key",
        uploaded_by=uploader,
    )


async def uploaders(bench: Bench) -> dict[UUID, UUID | None]:
    rows = await bench.rows("SELECT id, uploaded_by FROM knowledge.documents WHERE deleted_at IS NULL")
    return {row["id"]: row["uploaded_by"] for row in rows}


async def deleted(bench: Bench) -> list[UUID]:
    """Those of whose deletion the event tells, and the audit log as well."""
    events = await bench.events()
    told = [UUID(body["data"]["document_id"]) for kind, body in events if kind == "document.deleted.v1"]
    entries = [body["data"] for kind, body in events if kind == "audit.recorded.v1"]
    assert [UUID(entry["object_id"]) for entry in entries] == told
    assert {(entry["action"], entry["subject_type"]) for entry in entries} <= {("document.delete", "removal")}
    return told


async def test_without_an_heir_documents_go_by_the_ordinary_path_also_while_they_are_read(
    bench: Bench, removals: Removals
) -> None:
    claim = await bench.claim()
    await bench.rows("UPDATE knowledge.documents SET uploaded_by = $1", EVE)
    waiting, others = await add(bench, EVE), await add(bench, BOB)
    for _ in range(3):
        await removals.settle(gone(EVE))
    assert await uploaders(bench) == {others: BOB}
    assert sorted(await deleted(bench)) == sorted([claim.document_id, waiting])
    with pytest.raises(ClaimLost):
        async with bench.uow(TENANT) as tx:
            await tx.writes.renew(claim, lease=timedelta(seconds=1))


async def test_with_an_heir_documents_change_hands_and_what_the_heir_has_as_well_goes(
    bench: Bench, removals: Removals
) -> None:
    first, same = await add(bench, EVE), await add(bench, EVE, content="same")
    kept = await add(bench, BOB, content="same")
    for _ in range(2):
        await removals.settle(gone(EVE, BOB))
    assert await uploaders(bench) == {first: BOB, kept: BOB}
    assert await deleted(bench) == [same]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_who_inherits_from_whom_does_not_depend_on_what_is_heard_first(
    bench: Bench, removals: Removals, order: tuple[int, int]
) -> None:
    """R4: eve's documents go to bob and from him to ann, or are nobody's when he left none."""
    to_ann, removed = await add(bench, EVE), [gone(EVE, BOB), gone(BOB, ANN)]
    for number in order:
        await removals.settle(removed[number])
    assert await uploaders(bench) == {to_ann: ANN}
    await removals.settle(gone(ANN, EVE))
    assert await uploaders(bench) == {}, "a ring of heirs has nobody"


async def test_an_upload_that_ends_after_its_user_is_gone_leaves_no_orphan(bench: Bench, removals: Removals) -> None:
    document_id = DocumentId(uuid7())
    async with bench.registry(TENANT) as (collections, registry):
        collection = await collections.open_default(TENANT)
        await registry.begin_receiving(
            TENANT, document_id, collection_id=collection.id, uploaded_by=EVE, media_type="application/pdf"
        )
    await removals.settle(gone(EVE))
    async with bench.registry(TENANT) as (_, registry):
        await registry.register(new_document(document_id, collection.id, EVE, ""))
    assert await uploaders(bench) == {document_id: EVE}
    await removals.sweep()
    assert await uploaders(bench) == {}
    await bench.rows("UPDATE knowledge.removed_users SET removed_at = now() - interval '40 days'")
    await removals.sweep()
    assert await bench.rows("SELECT FROM knowledge.removed_users") == []


async def test_memberships_end_and_what_the_user_made_is_managed_by_the_heir(bench: Bench, removals: Removals) -> None:
    key = uuid7()
    async with bench.registry.as_caller(ADMIN) as (collections, _):
        made = await collections.create(TENANT, "Made", Visibility.RESTRICTED, created_by=EVE)
        joined = await collections.create(TENANT, "Joined", Visibility.RESTRICTED, created_by=ANN)
        for member in (EVE, key):
            await collections.put_member(TENANT, joined.id, member, Access.WRITE)
    await removals.settle(gone(EVE, BOB, key))
    members = await bench.rows("SELECT collection_id, member_id, access FROM knowledge.collection_members ORDER BY 1")
    assert [tuple(row) for row in members] == [(made.id, BOB, "manage"), (joined.id, ANN, "manage")]
    makers = await bench.rows("SELECT created_by FROM knowledge.collections ORDER BY id")
    assert [row["created_by"] for row in makers] == [BOB, ANN]
    async with bench.registry.as_caller(ADMIN) as (collections, _):
        await collections.put_member(TENANT, joined.id, EVE, Access.READ)  # by an admin who had not heard
    await removals.sweep()
    assert len(await bench.rows("SELECT FROM knowledge.collection_members")) == 2


async def test_a_worker_that_stops_in_the_midst_of_it_goes_on(bench: Bench, removals: Removals) -> None:
    documents = [await add(bench, EVE) for _ in range(3)]
    ends = 0
    while True:
        begun = bench.uow.ended
        bench.uow.away_after = ends
        try:
            await removals.settle(gone(EVE))
            break
        except UpstreamUnavailable:
            assert bench.uow.ended - begun == ends
            ends += 1
    assert ends > 5 and await uploaders(bench) == {}
    assert sorted(await deleted(bench)) == sorted(documents)


async def erasures(bench: Bench) -> list[dict[str, object]]:
    return [body["data"] for kind, body in await bench.events() if kind == "user.erased.v1"]


async def test_of_an_erased_user_it_is_told_once_what_is_gone(bench: Bench, removals: Removals) -> None:
    claim = await bench.claim()
    await bench.rows("UPDATE knowledge.documents SET uploaded_by = $1 WHERE id = $2", EVE, claim.document_id)
    await add(bench, EVE, content="same")
    await add(bench, BOB, content="same")
    await removals.settle(gone(BOB))
    assert await erasures(bench) == [], "a removal tells nothing"
    erased = replace(gone(EVE), is_erasure=True)
    ends = 0
    while True:
        bench.uow.away_after = ends
        try:
            await removals.settle(erased)
            break
        except UpstreamUnavailable:
            ends += 1
    bench.uow.away_after = None
    await add(bench, EVE)
    await removals.sweep()
    assert await uploaders(bench) == {}
    (told,) = await erasures(bench)
    assert (told["user_id"], told["service"]) == (str(EVE), "ingest")
    counted = told["erased"]
    assert isinstance(counted, dict) and counted["documents"] == 2, "however often it was begun anew"
    assert counted["objects"] == 2 and counted.get("quotes", 0) <= 4


async def test_of_whom_it_was_not_told_it_is_told_in_the_end(bench: Bench, removals: Removals) -> None:
    async with bench.uow(TENANT) as tx:  # its event lies with the dead letters
        await tx.legacies.removed.remember(replace(gone(EVE), is_erasure=True))
    await removals.sweep()
    assert await erasures(bench) == [], "its event may be at work"
    await bench.rows("UPDATE knowledge.removed_users SET removed_at = now() - interval '1 hour'")
    for _ in range(2):
        await removals.sweep()
    assert [told["user_id"] for told in await erasures(bench)] == [str(EVE)]


async def test_what_goes_with_a_document_is_told_whoever_takes_it_away(bench: Bench, removals: Removals) -> None:
    for _ in range(2):
        await add(bench, EVE)
    await removals.settle(replace(gone(EVE), is_erasure=True))
    assert [told["erased"] for told in await erasures(bench)] == [{"documents": 2, "quotes": 4, "objects": 2}]


async def test_what_an_heir_of_an_erased_user_gets_is_told_as_handed_over(bench: Bench, removals: Removals) -> None:
    await add(bench, EVE)
    await removals.settle(replace(gone(EVE, BOB), is_erasure=True))
    assert [told["erased"] for told in await erasures(bench)] == [{"documents_handed_over": 1}]
