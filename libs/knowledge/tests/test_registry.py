import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from docuchat_common.ids import CollectionId, DocumentId, TenantId, uuid7
from docuchat_knowledge.collections.errors import CollectionNotFound
from docuchat_knowledge.collections.repository import CollectionRepository
from docuchat_knowledge.documents.domain import DocumentStatus, NewDocument
from docuchat_knowledge.documents.errors import DocumentNotFailed, DocumentNotFound, UploadAbandoned
from docuchat_knowledge.documents.repository import DocumentRegistry
from docuchat_knowledge.jobs.claims import ClaimStore
from docuchat_knowledge.jobs.reembedding import ReembeddingStore
from docuchat_knowledge.jobs.repository import WorkerStore
from docuchat_knowledge.spaces.repository import ensure_space
from docuchat_models.spaces import EmbeddingSpace
from docuchat_testkit.eventually import eventually


async def test_a_new_document_waits_with_its_place_in_the_queue(knowledge):
    first = await knowledge.upload(1)
    second = await knowledge.upload(1)
    assert first.status is DocumentStatus.QUEUED
    assert (first.queue_position, second.queue_position) == (1, 2)
    assert 0 < first.eta_seconds < second.eta_seconds


async def test_equal_uploads_at_once_give_one_document(knowledge):
    documents = await asyncio.gather(*(knowledge.upload(1, content="same") for _ in range(8)))
    assert len({document.id for document in documents}) == 1
    assert await knowledge.count("documents", 1) == 1
    assert await knowledge.count("collections", 1) == 1


async def test_the_same_content_is_another_document_for_another_tenant(knowledge):
    mine, theirs = await knowledge.upload(1, content="same"), await knowledge.upload(2, content="same")
    assert mine.id != theirs.id


async def test_another_tenants_document_is_not_found(knowledge):
    document = await knowledge.upload(1)
    async with knowledge.transaction("gateway", 2) as connection:
        registry = DocumentRegistry(connection)
        with pytest.raises(DocumentNotFound):
            await registry.get(TenantId(1), document.id)
        with pytest.raises(DocumentNotFound):
            await registry.delete(TenantId(1), document.id)
        with pytest.raises(CollectionNotFound):
            await CollectionRepository(connection).get(TenantId(1), document.collection_id)


async def test_pages_of_the_list_follow_on_newest_first(knowledge):
    documents = [await knowledge.upload(1, title=f"Report {number}") for number in range(5)]
    async with knowledge.transaction("gateway", 1) as connection:
        registry = DocumentRegistry(connection)
        first = await registry.list_documents(TenantId(1), limit=3)
        second = await registry.list_documents(TenantId(1), limit=3, before=first[-1].id)
        oldest = await registry.list_oldest_first(TenantId(1), limit=2, after=None, purpose=None)
        newer = await registry.list_oldest_first(TenantId(1), limit=9, after=oldest[-1].id, purpose=None)
        by_title = await registry.list_documents(TenantId(1), limit=9, title_contains="REPORT 4")
        none = await registry.list_documents(TenantId(1), limit=9, status=DocumentStatus.READY)
        held = await registry.list_holdings(after=None, limit=4)
        rest = await registry.list_holdings(after=held[-1].id, limit=4)
    assert [d.id for d in [*first, *second]] == [d.id for d in reversed(documents)]
    assert [d.id for d in [*oldest, *newer]] == [d.id for d in documents]
    assert [d.id for d in by_title] == [documents[4].id]
    assert none == []
    assert [one.id for one in (*held, *rest)] == [document.id for document in documents]


async def test_only_a_failed_document_can_be_retried(knowledge, worker):
    document = await knowledge.upload(1)
    async with knowledge.transaction("gateway", 1) as connection:
        with pytest.raises(DocumentNotFailed):
            await DocumentRegistry(connection).retry(TenantId(1), document.id)
    claim = await knowledge.claim(worker.process_id)
    async with knowledge.transaction("ingest", 1) as connection:
        await WorkerStore(connection).fail(claim, code="not_a_pdf", detail="No PDF.", retryable=False)
    failed = await knowledge.get(document)
    assert (failed.status, failed.error_code, failed.attempts) == (DocumentStatus.FAILED, "not_a_pdf", 1)
    async with knowledge.transaction("gateway", 1) as connection:
        again = await DocumentRegistry(connection).retry(TenantId(1), document.id)
    assert (again.status, again.error_code, again.attempts) == (DocumentStatus.QUEUED, None, 0)


@pytest.mark.parametrize("way", ["retry", "renew_blob", "requeue_given_up", "queue_outdated"])
async def test_whoever_queues_a_document_again_it_is_as_if_new(knowledge, worker, way):
    document = await knowledge.ingest_texts(worker, 1, ["one apple"])
    async with knowledge.database.connect() as admin:
        await admin.execute(
            "UPDATE knowledge.documents SET status = 'failed', error_code = 'ingest_failed', error_detail = 'x',"
            " retryable = true, attempts = 3, not_before = 'infinity', queued_at = '-infinity'"
        )
    if way == "queue_outdated":
        async with knowledge.database.connect("docuchat_owner") as owner:
            await ensure_space(owner, EmbeddingSpace("test", "better", 4))
    ways = {
        "retry": (1, "gateway", lambda it: DocumentRegistry(it).retry(TenantId(1), document.id)),
        "renew_blob": (1, "gateway", lambda it: DocumentRegistry(it).renew_blob(TenantId(1), document.id, "elsewhere")),
        "requeue_given_up": (None, "ingest", lambda it: ClaimStore(it).requeue_given_up(document.id)),
        "queue_outdated": (None, "gateway", lambda it: ReembeddingStore(it).queue_outdated()),
    }
    tenant, service, queue = ways[way]
    async with knowledge.transaction(service, tenant) as connection:
        assert await queue(connection)
    again = await knowledge.get(document)
    assert (again.status, again.attempts, again.pages_done, again.retryable) == (DocumentStatus.QUEUED, 0, 0, None)
    assert (again.error_code, again.error_detail, again.waiting_until, again.generation) == (None, None, None, 1)
    async with knowledge.transaction("ingest", None) as connection:
        (waiting,) = await ClaimStore(connection).list_waiting(older_than=timedelta(0))
    assert waiting.waiting_since > document.created_at
    assert len(await knowledge.search(1, "apple")) == 1


async def test_two_retries_at_once_queue_a_document_once(knowledge, worker):
    document = await knowledge.upload(1)
    claim = await knowledge.claim(worker.process_id)
    async with knowledge.transaction("ingest", 1) as connection:
        await WorkerStore(connection).fail(claim, code="not_a_pdf", detail="No PDF.", retryable=False)

    async def retry() -> object:
        async with knowledge.transaction("gateway", 1) as connection:
            return await DocumentRegistry(connection).retry(TenantId(1), document.id)

    async with knowledge.database.connect() as admin, admin.transaction():
        await admin.execute("SELECT FROM knowledge.documents FOR UPDATE")
        both = [asyncio.ensure_future(retry()) for _ in range(2)]
        await eventually(lambda: waiting_for_a_row(knowledge, 2))
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Document", "DocumentNotFailed"]


async def waiting_for_a_row(knowledge, expected) -> bool:
    async with knowledge.database.connect() as admin:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return await admin.fetchval(query) == expected


async def test_deleting_leaves_no_text_and_after_purging_no_row(knowledge, worker):
    document = await knowledge.ingest_texts(worker, 1, ["one apple", "two apples"])
    async with knowledge.transaction("gateway", 1) as connection:
        receipt = await DocumentRegistry(connection).delete(TenantId(1), document.id)
    assert receipt.chunks_deleted == 2
    assert receipt.blob_key == document.blob_key
    assert await knowledge.search(1, "apple") == []
    assert await knowledge.count("chunks", 1) == await knowledge.count("chunk_vectors", 1) == 0
    async with knowledge.transaction("gateway", 1) as connection:
        registry = DocumentRegistry(connection)
        assert (await CollectionRepository(connection).open_default(TenantId(1))).chunk_count == 0
        with pytest.raises(DocumentNotFound):
            await registry.get(TenantId(1), document.id)
        await registry.purge(TenantId(1), document.id)
    assert await knowledge.count("documents", 1) == 0


async def test_deleted_content_can_be_uploaded_again(knowledge):
    first = await knowledge.upload(1, content="same")
    async with knowledge.transaction("gateway", 1) as connection:
        await DocumentRegistry(connection).delete(TenantId(1), first.id)
    assert (await knowledge.upload(1, content="same")).id != first.id


async def test_an_unknown_collection_is_refused(knowledge):
    async with knowledge.transaction("gateway", 1) as connection:
        with pytest.raises(CollectionNotFound):
            await CollectionRepository(connection).get(TenantId(1), CollectionId(uuid.uuid4()))
        assert await DocumentRegistry(connection).find(TenantId(1), DocumentId(uuid.uuid4())) is None


def new_document(document_id: DocumentId, collection_id: CollectionId, uploader: uuid.UUID | None) -> NewDocument:
    return NewDocument(
        id=document_id,
        tenant_id=TenantId(1),
        collection_id=collection_id,
        title="Report",
        filename="report.pdf",
        media_type="application/pdf",
        size_bytes=10,
        sha256="same",
        blob_key=f"tenants/1/documents/{document_id}/same",
        uploaded_by=uploader,
    )


async def begin_upload(knowledge, uploader: uuid.UUID | None = None) -> tuple[DocumentId, CollectionId]:
    document_id = DocumentId(uuid7())
    async with knowledge.transaction("gateway", 1) as connection:
        collection = await CollectionRepository(connection).open_default(TenantId(1))
        await DocumentRegistry(connection).begin_receiving(
            TenantId(1), document_id, collection_id=collection.id, uploaded_by=uploader, media_type="application/pdf"
        )
    return document_id, collection.id


async def test_each_uploader_has_a_copy_and_the_same_one_gets_it_back(knowledge):
    mine, theirs = uuid7(), uuid7()
    first = await knowledge.upload(1, content="same", uploaded_by=mine)
    copy = await knowledge.upload(1, content="same", uploaded_by=theirs)
    again = await knowledge.upload(1, content="same", uploaded_by=mine)
    assert again.id == first.id != copy.id
    assert (first.uploaded_by, copy.uploaded_by) == (mine, theirs)
    async with knowledge.transaction("gateway", 1) as connection:
        registry = DocumentRegistry(connection)
        await registry.delete(TenantId(1), copy.id)
        assert await registry.find(TenantId(1), first.id) is not None


async def test_a_row_stands_before_its_file_and_nobody_sees_it(knowledge):
    document_id, collection_id = await begin_upload(knowledge)
    async with knowledge.transaction("gateway", 1) as connection:
        registry = DocumentRegistry(connection)
        assert await registry.find(TenantId(1), document_id) is None
        assert await registry.list_documents(TenantId(1), limit=9) == []
        assert await registry.list_holdings(after=None, limit=9) == []
        assert (await CollectionRepository(connection).get(TenantId(1), collection_id)).document_count == 0
        with pytest.raises(DocumentNotFound):
            await registry.delete(TenantId(1), document_id)
        new = new_document(document_id, collection_id, None)
        first = await registry.register(new)
        repeated = await registry.register(new)
    assert first.created
    assert repeated.created
    assert (first.document.id, first.document.status) == (document_id, DocumentStatus.QUEUED)
    assert repeated.document.id == document_id


async def test_equal_files_that_arrive_at_once_become_one_document(knowledge):
    async def upload():
        document_id, collection_id = await begin_upload(knowledge)
        async with knowledge.transaction("gateway", 1) as connection:
            registry = DocumentRegistry(connection)
            registration = await registry.register(new_document(document_id, collection_id, None))
            if not registration.created:
                await registry.abandon(TenantId(1), document_id)
            return registration

    registrations = await asyncio.gather(*(upload() for _ in range(8)))
    assert [registration.created for registration in registrations].count(True) == 1
    assert len({registration.document.id for registration in registrations}) == 1
    async with knowledge.transaction("ingest", None) as connection:
        assert len(await ClaimStore(connection).list_tombstones(older_than=timedelta(0))) == 7


async def test_an_upload_that_never_ended_is_swept_and_cannot_be_registered_after(knowledge):
    document_id, collection_id = await begin_upload(knowledge)
    async with knowledge.transaction("ingest", None) as connection:
        store = ClaimStore(connection)
        assert await store.bury_abandoned(older_than=timedelta(hours=1)) == 0
        assert await store.bury_abandoned(older_than=timedelta(0)) == 1
        assert [tombstone.id for tombstone in await store.list_tombstones(older_than=timedelta(0))] == [document_id]
    async with knowledge.transaction("gateway", 1) as connection:
        with pytest.raises(UploadAbandoned):
            await DocumentRegistry(connection).register(new_document(document_id, collection_id, None))


async def test_a_failed_document_takes_a_new_blob_and_is_queued_again(knowledge, worker):
    document = await knowledge.upload(1, content="same")
    async with knowledge.transaction("gateway", 1) as connection:
        assert await DocumentRegistry(connection).renew_blob(TenantId(1), document.id, "elsewhere") is None
    claim = await knowledge.claim(worker.process_id)
    async with knowledge.transaction("ingest", 1) as connection:
        await WorkerStore(connection).fail(claim, code="file_missing", detail="Gone.", retryable=True)
    async with knowledge.transaction("gateway", 1) as connection:
        renewed = await DocumentRegistry(connection).renew_blob(TenantId(1), document.id, "elsewhere")
    assert renewed is not None
    assert (renewed.status, renewed.blob_key, renewed.attempts) == (DocumentStatus.QUEUED, "elsewhere", 0)
    assert renewed.error_code is None


async def test_a_deletion_counts_everything_that_went(knowledge, worker):
    document = await knowledge.ingest_texts(worker, 1, ["one apple", "two apples"])
    async with knowledge.transaction("gateway", 1) as connection:
        receipt = await DocumentRegistry(connection).delete(TenantId(1), document.id)
    assert (receipt.chunks_deleted, receipt.pages_deleted, receipt.bytes_deleted) == (2, 1, 10)
    assert receipt.collection_id == document.collection_id


async def test_a_waiting_document_says_until_when_and_why(knowledge, worker):
    document = await knowledge.upload(1)
    claim = await knowledge.claim(worker.process_id)
    async with knowledge.transaction("ingest", 1) as connection:
        await WorkerStore(connection).postpone(
            claim, delay=timedelta(minutes=10), code="rate_limited", detail="Asked for a pause.", spends_attempt=False
        )
    waiting = await knowledge.get(document)
    assert waiting.waiting_until - datetime.now(UTC) > timedelta(minutes=9)
    assert waiting.error_code == "rate_limited"


async def test_what_was_not_read_is_told_of_a_ready_document(knowledge, worker):
    document = await knowledge.upload(1)
    claim = await knowledge.claim(worker.process_id)
    await knowledge.write(claim, [knowledge.draft(0, "cover")])
    async with knowledge.transaction("ingest", 1) as connection:
        await WorkerStore(connection).swap(claim, pages=5, pages_unread=4, warnings=["scanned_pages"])
    seen = await knowledge.get(document)
    assert (seen.pages_unread, seen.warnings) == (4, ("scanned_pages",))


async def test_what_a_document_says_of_itself_is_kept_and_lists_go_without_its_labels(knowledge, worker):
    document = await knowledge.upload(1)
    claim = await knowledge.claim(worker.process_id)
    await knowledge.write(claim, [replace(knowledge.draft(0, "cover"), heading="Part › Chapter")])
    async with knowledge.transaction("ingest", 1) as connection:
        await WorkerStore(connection).swap(claim, pages=2, info={"title": "قرارداد", "page_labels": ("i", "ii")})
    assert (await knowledge.get(document)).info == {"title": "قرارداد", "page_labels": ["i", "ii"]}
    async with knowledge.transaction("gateway", 1) as connection:
        (listed,) = await DocumentRegistry(connection).list_documents(1, limit=10)
    assert listed.info == {"title": "قرارداد"}
    async with knowledge.transaction("ingest", 1) as connection:
        assert await connection.fetchval("SELECT heading FROM knowledge.chunks") == "Part › Chapter"


async def test_documents_of_another_model_are_told_and_can_be_queued_to_be_embedded_again(knowledge, worker):
    document = await knowledge.ingest_texts(worker, 1, ["one apple"])
    assert not (await knowledge.get(document)).embedding_outdated
    async with knowledge.database.connect("docuchat_owner") as owner:
        await ensure_space(owner, EmbeddingSpace("test", "better", 4))
    assert (await knowledge.get(document)).embedding_outdated
    async with knowledge.transaction("gateway", None) as connection:
        store = ReembeddingStore(connection)
        assert await store.count_outdated() == 1
        assert await store.queue_outdated(tenant_id=TenantId(2)) == []
        assert [waiting.document_id for waiting in await store.queue_outdated()] == [document.id]
        assert await store.count_outdated() == 0
    assert len(await knowledge.search(1, "apple")) == 1
    claim = await knowledge.claim(worker.process_id)
    assert claim.document_id == document.id
