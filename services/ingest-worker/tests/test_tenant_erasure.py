"""A deleted tenant leaves no row, vector, file or message, also while its documents are read."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from docuchat_common.events.catalogue import DocumentUploaded, TenantDeleted, TenantSettings
from docuchat_common.ids import TenantId, uuid7
from docuchat_common.messaging.broker import Broker
from docuchat_testkit.broker import TestBroker
from docuchat_testkit.eventually import eventually
from docuchat_testkit.leftovers import rows_of
from docuchat_testkit.messaging import count_messages

from .running import OTHER, TENANT, Product, running_worker

QUEUES = ("ingest.document-uploaded.v1", "ingest.document-uploaded.v1.dlq", "ingest.tenant-deleted.v1")
STAYS = {"knowledge.erased_tenants", "knowledge.outbox"}


@pytest.fixture
async def broker(rabbitmq: TestBroker) -> AsyncIterator[Broker]:
    async with Broker.connect(rabbitmq.url("ingest"), name="test") as connected:
        yield connected


async def left(product: Product, tenant: TenantId) -> set[str]:
    async with product.database.connect() as administrator:
        rows = set(await rows_of(administrator, tenant, "knowledge."))
    files = await asyncio.to_thread(lambda: list((product.folder / f"tenants/{tenant}").rglob("*")))
    return rows - STAYS | {str(path) for path in files}


async def finished(product: Product) -> bool:
    return bool(await product.rows("SELECT FROM knowledge.erased_tenants WHERE finished_at IS NOT NULL"))


async def test_a_tenant_that_is_deleted_while_it_is_read_leaves_nothing(
    product: Product, long_pdf: bytes, pdf_maker, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_worker(product, monkeypatch, INGEST_CONCURRENCY="2"):
        spared = await product.upload(pdf_maker.text("Of another tenant."), OTHER)
        await product.settled(spared, OTHER)
        await product.settled(await product.upload(pdf_maker.text("Ready before.")))
        await product.upload(long_pdf)
        waiting = [await product.upload(pdf_maker.text(f"It waits {number}.")) for number in range(4)]
        drafts = (
            "SELECT FROM knowledge.chunks c JOIN knowledge.documents d ON d.id = document_id WHERE status <> 'ready'"
        )
        await eventually(lambda: product.rows(drafts))
        for _ in range(3):
            await product.publish(TenantDeleted(tenant_id=TENANT))
        late = DocumentUploaded(
            tenant_id=TENANT, document_id=waiting[0], collection_id=uuid7(), user_id=None, sha256="0" * 64,
            size_bytes=1, media_type="application/pdf",
        )  # fmt: skip
        await eventually(lambda: finished(product), timeout=60)
        await product.publish(late)

        async def is_quiet() -> bool:
            return [await count_messages(broker, queue) for queue in QUEUES] == [0, 0, 0]

        await eventually(is_quiet)
        assert await left(product, TENANT) == set()
        assert (await product.get(spared, OTHER)).chunks == 1
    told = await product.rows("SELECT FROM knowledge.outbox WHERE type = 'tenant.erased.v1'")
    assert len(told) == 1


async def test_a_file_that_arrives_after_the_erasure_is_swept(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = product.folder / f"tenants/{TENANT}/documents/{uuid7()}/arriving"
    await asyncio.to_thread(late.parent.mkdir, parents=True)
    await asyncio.to_thread(late.write_bytes, b"late")
    async with product.database.connect() as administrator:
        await administrator.execute("INSERT INTO knowledge.erased_tenants (tenant_id, finished_at) VALUES (1, now())")
    async with running_worker(product, monkeypatch):
        await eventually(lambda: not late.exists())


async def test_documents_are_kept_for_as_long_as_their_tenant_says(
    product: Product, pdf_maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_worker(product, monkeypatch) as container:
        old, young = [await product.upload(pdf_maker.text(text)) for text in ("It is old.", "It is young.")]
        spared = await product.upload(pdf_maker.text("Of another tenant."), OTHER)
        for document, tenant in ((old, TENANT), (young, TENANT), (spared, OTHER)):
            await product.settled(document, tenant)
        async with product.database.connect() as administrator:
            days = "UPDATE knowledge.documents SET created_at = now() - interval '9 days' WHERE id = ANY ($1::uuid[])"
            await administrator.execute(days, [old, spared])
            answered = """INSERT INTO knowledge.idempotent_requests
                    (tenant_id, subject, key_hash, owner, lease_until, reference)
                SELECT 1, 's', decode(replace(id::text, '-', ''), 'hex'), id, now(), id FROM unnest($1::uuid[]) AS id"""
            await administrator.execute(answered, [old, young])
        for version, chosen in ((2, 5), (1, 1)):
            await product.publish(
                TenantSettings(tenant_id=TENANT, version=version, chats_days=None, documents_days=chosen)
            )
        rule = "SELECT FROM knowledge.retention_rules WHERE version = 2"
        await eventually(lambda: product.rows(rule))
        assert "retention" in container.background
    async with running_worker(product, monkeypatch):  # which sweeps when it starts

        async def is_gone() -> bool:
            return not await product.rows("SELECT FROM knowledge.documents WHERE id = $1 AND deleted_at IS NULL", old)

        await eventually(is_gone)
        assert (await product.get(young)).chunks == (await product.get(spared, OTHER)).chunks == 1
    kept = await product.rows("SELECT reference FROM knowledge.idempotent_requests")
    assert [row["reference"] for row in kept] == [young], "what its upload was answered goes with a document"
    told = await product.rows("SELECT body FROM knowledge.outbox WHERE type = 'audit.recorded.v1'")
    assert len(told) == 1
    assert b'"retention"' in told[0]["body"]
