import asyncio
import uuid

import pytest

from docuchat_common.ids import CollectionId, DocumentId, TenantId
from docuchat_knowledge.collections.errors import CollectionNotFound
from docuchat_knowledge.collections.repository import CollectionRepository
from docuchat_knowledge.documents.domain import DocumentStatus
from docuchat_knowledge.documents.errors import DocumentNotFailed, DocumentNotFound
from docuchat_knowledge.documents.repository import DocumentRegistry
from docuchat_knowledge.jobs.repository import WorkerStore


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
        by_title = await registry.list_documents(TenantId(1), limit=9, title_contains="REPORT 4")
        none = await registry.list_documents(TenantId(1), limit=9, status=DocumentStatus.READY)
        holdings = await registry.measure_holdings(TenantId(1))
    assert [d.id for d in [*first, *second]] == [d.id for d in reversed(documents)]
    assert [d.id for d in by_title] == [documents[4].id]
    assert none == []
    assert holdings.documents == 5


async def test_only_a_failed_document_can_be_retried(knowledge, worker):
    document = await knowledge.upload(1)
    async with knowledge.transaction("gateway", 1) as connection:
        with pytest.raises(DocumentNotFailed):
            await DocumentRegistry(connection).retry(TenantId(1), document.id)
    claim = await knowledge.claim(worker.worker_id)
    async with knowledge.transaction("ingest", 1) as connection:
        await WorkerStore(connection).fail(claim, code="not_a_pdf", detail="No PDF.", retryable=False)
    failed = await knowledge.get(document)
    assert (failed.status, failed.error_code, failed.attempts) == (DocumentStatus.FAILED, "not_a_pdf", 1)
    async with knowledge.transaction("gateway", 1) as connection:
        again = await DocumentRegistry(connection).retry(TenantId(1), document.id)
    assert (again.status, again.error_code, again.attempts) == (DocumentStatus.QUEUED, None, 0)


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
