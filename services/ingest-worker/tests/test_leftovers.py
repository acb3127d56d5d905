"""Documents of chatbots and chats that are gone, and files that nobody asked with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from docuchat_common.clock import SystemClock
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.ids import CollectionId, DocumentId, TenantId, UserId, uuid7
from docuchat_ingest.jobs.leftovers import Leftovers
from docuchat_knowledge.documents.domain import NewDocument
from docuchat_knowledge.documents.errors import UploadAbandoned

from .bench import TENANT, Bench
from .test_people import gone, make_removals

ADMIN = Caller(TENANT, "user", uuid7(), role="admin")
EVE, BOB = UserId(uuid7()), UserId(uuid7())
DAY = timedelta(days=1)


def make_leftovers(bench: Bench, *used: UUID) -> Leftovers:
    """With a chat that has some files and chatbots."""

    async def find_unused(_: TenantId, document_ids: Sequence[DocumentId]) -> Sequence[DocumentId]:
        return [document_id for document_id in document_ids if document_id not in used]

    async def find_gone(_: TenantId, chatbot_ids: Sequence[UUID]) -> Sequence[UUID]:
        return [chatbot_id for chatbot_id in chatbot_ids if chatbot_id not in used]

    return Leftovers(bench.uow, bench.around, find_unused, find_gone, SystemClock())


def new_document(collection_id: UUID, uploader: UUID, document_id: UUID | None = None) -> NewDocument:
    document_id = DocumentId(document_id or uuid7())
    place = (TENANT, CollectionId(collection_id), "t", "f.pdf", "application/pdf", 1)
    return NewDocument(document_id, *place, document_id.hex, "key", uploader)


async def add_to_chatbot(bench: Bench, chatbot_id: UUID) -> UUID:
    async with bench.registry.as_caller(ADMIN) as (collections, registry):
        collection = await collections.open_of_chatbot(TENANT, chatbot_id, "Bot", created_by=None)
        return (await registry.register(new_document(collection.id, ADMIN.subject_id))).document.id


async def attach(bench: Bench, owner: UserId) -> UUID:
    async with bench.registry.as_caller(Caller(TENANT, "user", owner, role="member")) as (collections, registry):
        collection = await collections.open_attachments(TENANT, owner)
        return (await registry.register(new_document(collection.id, owner))).document.id


async def there(bench: Bench) -> set[UUID]:
    return {row["id"] for row in await bench.rows("SELECT id FROM knowledge.documents WHERE deleted_at IS NULL")}


async def told(bench: Bench) -> set[UUID]:
    return {UUID(body["data"]["document_id"]) for kind, body in await bench.events() if kind == "document.deleted.v1"}


async def test_a_chatbots_documents_and_collection_go_however_often_the_worker_stops(bench: Bench) -> None:
    chatbot_id, other = uuid7(), uuid7()
    documents = {await add_to_chatbot(bench, chatbot_id) for _ in range(3)}
    kept, leftovers, ends = await add_to_chatbot(bench, other), make_leftovers(bench), 0
    while True:
        bench.uow.away_after = ends
        try:
            await leftovers.delete_chatbot(TENANT, chatbot_id)
            break
        except UpstreamUnavailable:
            ends += 1
    bench.uow.away_after = None
    assert ends > 3
    assert await there(bench) == {kept}
    assert await told(bench) == documents
    left = await bench.rows("SELECT id FROM knowledge.collections WHERE kind = 'chatbot'")
    assert [row["id"] for row in left] == [other]
    await leftovers.delete_chatbot(TENANT, chatbot_id)  # the event comes again
    await leftovers.delete_chatbot(TenantId(2), other)  # another tenant's
    assert await there(bench) == {kept}


async def test_a_file_that_is_on_its_way_to_a_deleted_chatbot_is_given_up(bench: Bench) -> None:
    chatbot_id, document_id = uuid7(), DocumentId(uuid7())
    await add_to_chatbot(bench, chatbot_id)
    place = {"collection_id": CollectionId(chatbot_id), "uploaded_by": None, "media_type": "application/pdf"}
    async with bench.registry.as_caller(ADMIN) as (_, registry):
        await registry.begin_receiving(TENANT, document_id, **place)
    await make_leftovers(bench).delete_chatbot(TENANT, chatbot_id)
    assert await there(bench) == set()
    other = uuid7()
    await add_to_chatbot(bench, other)
    with pytest.raises(UploadAbandoned):
        async with bench.registry.as_caller(ADMIN) as (_, registry):
            await registry.register(new_document(other, ADMIN.subject_id, document_id))


async def test_what_a_chat_leaves_is_deleted_where_it_is_an_attachment(bench: Bench) -> None:
    attached, document = await attach(bench, EVE), await add_to_chatbot(bench, uuid7())
    for _ in range(2):
        await make_leftovers(bench).delete_attachments(TENANT, [attached, document, uuid7()])
    assert await there(bench) == {document}
    assert await told(bench) == {attached}


async def test_what_another_chat_uses_when_a_late_event_is_heard_stays(bench: Bench) -> None:
    used, unused = [await attach(bench, owner) for owner in (EVE, BOB)]
    await make_leftovers(bench, used).delete_attachments(TENANT, [used, unused])
    assert await there(bench) == {used}


async def test_what_chatbots_left_goes_also_when_nobody_heard_of_their_deletion(bench: Bench) -> None:
    living, gone_unheard = uuid7(), uuid7()
    kept, lost = await add_to_chatbot(bench, living), await add_to_chatbot(bench, gone_unheard)
    attached = await attach(bench, EVE)
    for _ in range(2):
        await make_leftovers(bench, living).sweep_chatbots()
    assert await there(bench) == {kept, attached}
    assert await told(bench) == {lost}
    left = await bench.rows("SELECT id FROM knowledge.collections WHERE kind = 'chatbot'")
    assert [row["id"] for row in left] == [living]


async def test_files_that_no_chat_uses_go_after_their_time_and_no_others(bench: Bench) -> None:
    used, unused, fresh = [await attach(bench, owner) for owner in (EVE, BOB, EVE)]
    document = await add_to_chatbot(bench, uuid7())
    old = "UPDATE knowledge.documents SET created_at = now() - interval '2 days' WHERE id <> $1"
    await bench.rows(old, fresh)
    await make_leftovers(bench, used).sweep(DAY)
    assert await there(bench) == {used, fresh, document}
    assert await told(bench) == {unused}


async def test_attachments_of_a_removed_user_go_also_where_documents_are_handed_over(bench: Bench) -> None:
    attached = await attach(bench, EVE)
    await attach(bench, BOB)
    for _ in range(2):
        await make_removals(bench).settle(gone(EVE, BOB))
    assert attached not in await there(bench)
    left = await bench.rows("SELECT owner_id FROM knowledge.collections WHERE kind = 'attachments'")
    assert [row["owner_id"] for row in left] == [BOB]
