"""The worker on real servers: PostgreSQL, RabbitMQ, Redis, a blob folder; usage is a small server that keeps its own
books.
"""

import asyncio
import hashlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiohttp import web

from docuchat_common.contracts.holds import HoldKind, HoldRequest, HoldUnit
from docuchat_common.db import UnitOfWork
from docuchat_common.events.catalogue import DocumentDeleted, DocumentUploaded
from docuchat_common.events.envelope import Event
from docuchat_common.ids import DocumentId, TenantId, uuid7
from docuchat_common.messaging.broker import Broker
from docuchat_ingest import bootstrap
from docuchat_ingest.pipeline.service import WORK_FOLDER
from docuchat_ingest.settings import Settings
from docuchat_knowledge.collections.repository import CollectionRepository
from docuchat_knowledge.documents.domain import Document, DocumentStatus, NewDocument
from docuchat_knowledge.documents.repository import DocumentRegistry
from docuchat_knowledge.jobs.claims import LOCK_CLASS
from docuchat_knowledge.spaces.repository import ensure_space
from docuchat_models.opening import find_space
from docuchat_models.settings import EmbeddingSettings
from docuchat_testkit.broker import TestBroker
from docuchat_testkit.databases import ClonedDatabase
from docuchat_testkit.eventually import eventually
from docuchat_testkit.messaging import Others, others
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule

TENANT, OTHER = TenantId(1), TenantId(2)
QUEUE = "ingest.document-uploaded.v1"


@dataclass
class UsageStub:
    """Holds that were opened, renewed and dropped; refuses when told to."""

    holds: dict[str, int] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    refuse: bool = False
    url: str = ""

    async def open(self, request: web.Request) -> web.Response:
        if self.refuse:
            body = {
                "code": "quota_exceeded",
                "detail": "The tenant's tokens are used up.",
                "resets_at": "2030-01-01T00:00:00Z",
            }
            return web.json_response(body, status=429, headers={"Retry-After": "60"})
        body = await request.json()
        hold = HoldRequest.model_validate(body)
        assert (hold.kind, bool(hold.provider), bool(hold.model)) == (HoldKind.EMBEDDING, True, True)
        tokens = hold.amount_of(HoldUnit.INPUT_TOKENS)
        hold_id = str(uuid4())
        self.holds[hold_id] = tokens
        return web.json_response(
            {"hold_id": hold_id, "tokens": tokens, "expires_at": "2030-01-01T00:00:00Z"}, status=201
        )

    async def renew(self, request: web.Request) -> web.Response:
        hold_id = request.match_info["hold"]
        return web.json_response(
            {"hold_id": hold_id, "tokens": self.holds[hold_id], "expires_at": "2030-01-01T00:00:00Z"}
        )

    async def drop(self, request: web.Request) -> web.Response:
        self.dropped.append(request.match_info["hold"])
        return web.Response(status=204)


@pytest.fixture
async def usage() -> AsyncIterator[UsageStub]:
    stub = UsageStub()
    app = web.Application()
    app.add_routes(
        [
            web.post("/internal/holds", stub.open),
            web.patch("/internal/holds/{hold}", stub.renew),
            web.delete("/internal/holds/{hold}", stub.drop),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield stub
    await runner.cleanup()


@dataclass
class Product:
    """What surrounds the worker: the gateway's part of an upload, and a look at the tables."""

    database: ClonedDatabase
    environment: dict[str, str]
    registry_uow: UnitOfWork[tuple[CollectionRepository, DocumentRegistry]]
    gateway: Others
    folder: Path

    async def upload(
        self, content: bytes, tenant: TenantId = TENANT, *, ticket: bool = True, blob: bool = True
    ) -> UUID:
        document_id = DocumentId(uuid7())
        sha256 = hashlib.sha256(content).hexdigest()
        key = f"tenants/{tenant}/documents/{document_id}/{sha256}"
        if blob:
            path = self.folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        async with self.registry_uow(tenant) as (collections, registry):
            collection = await collections.open_default(tenant)
            new = NewDocument(
                id=document_id,
                tenant_id=tenant,
                collection_id=collection.id,
                title="A file",
                filename="file.pdf",
                media_type="application/pdf",
                size_bytes=max(len(content), 1),
                sha256=sha256,
                blob_key=key,
                uploaded_by=None,
            )
            await registry.register(new)
        if ticket:
            await self.publish(
                DocumentUploaded(
                    tenant_id=tenant,
                    document_id=document_id,
                    collection_id=collection.id,
                    user_id=None,
                    sha256=sha256,
                    size_bytes=max(len(content), 1),
                    media_type="application/pdf",
                )
            )
        return document_id

    async def publish(self, event: Event) -> None:
        await self.gateway.publish(event)

    async def get(self, document_id: UUID, tenant: TenantId = TENANT) -> Document:
        async with self.registry_uow(tenant) as (_, registry):
            return await registry.get(tenant, DocumentId(document_id))

    async def delete(self, document_id: UUID, tenant: TenantId = TENANT) -> None:
        async with self.registry_uow(tenant) as (_, registry):
            await registry.delete(tenant, DocumentId(document_id))
        await self.publish(DocumentDeleted(tenant_id=tenant, document_id=document_id, user_id=None))

    async def settled(self, document_id: UUID, tenant: TenantId = TENANT, *, timeout: float = 30) -> Document:
        async def check() -> Document:
            document = await self.get(document_id, tenant)
            assert document.status in (DocumentStatus.READY, DocumentStatus.FAILED), document
            return document

        return await eventually(check, timeout)

    async def rows(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self.database.connect() as connection:
            return await connection.fetch(query, *arguments)

    async def assert_whole(self, document_id: UUID) -> None:
        """Every chunk once, in order, with a vector each, of one generation."""
        rows = await self.rows(
            "SELECT c.ordinal, c.generation, (v.chunk_id IS NOT NULL) AS has_vector FROM knowledge.chunks c "
            "LEFT JOIN knowledge.chunk_vectors v ON v.chunk_id = c.id WHERE c.document_id = $1 ORDER BY ordinal",
            document_id,
        )
        assert [row["ordinal"] for row in rows] == list(range(len(rows)))
        assert len({row["generation"] for row in rows}) == 1
        assert all(row["has_vector"] for row in rows)


@pytest.fixture
async def product(
    database: ClonedDatabase,
    service_environment: Callable[[str], dict[str, str]],
    rabbitmq: TestBroker,
    usage: UsageStub,
    tmp_path: Path,
) -> AsyncIterator[Product]:
    environment = {
        **service_environment("ingest"),
        "USAGE_URL": usage.url,
        "PORT": "0",
        "INGEST_POLL": "500ms",
        "OPENAI_API_KEY": "",
        "EMBEDDING_BATCH_SIZE": "16",
    }
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(database.connect())
        await ensure_space(admin, await find_space(EmbeddingSettings(openai_api_key=None)))
        opened = await stack.enter_async_context(database.open("gateway"))
        gateway = await stack.enter_async_context(others(rabbitmq))
        uow: UnitOfWork[tuple[CollectionRepository, DocumentRegistry]] = UnitOfWork(
            opened,
            lambda connection, *_: (CollectionRepository(connection), DocumentRegistry(connection)),
            schema="knowledge",
        )
        folder = tmp_path / "blobs"
        folder.mkdir(exist_ok=True)
        yield Product(database, environment, uow, gateway, folder)


@asynccontextmanager
async def running_worker(
    product: Product, monkeypatch: pytest.MonkeyPatch, **changes: str
) -> AsyncIterator[bootstrap.Container]:
    """The worker in this process, by its own composition root."""
    for name, value in {**product.environment, **changes}.items():
        monkeypatch.setenv(name, value)
    async with bootstrap.open_container(Settings()) as container:
        yield container


@asynccontextmanager
async def worker_process(product: Product, **changes: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The worker as a process of its own, killed on leaving if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "docuchat_ingest",
        env={"PATH": "/usr/bin:/bin", **product.environment, **changes},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_every_sample_ends_as_it_should(
    product: Product, samples: Path, usage: UsageStub, rabbitmq: TestBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    rabbitmq.declare("usage")  # it takes what the worker tells
    async with running_worker(product, monkeypatch):
        files = await asyncio.to_thread(lambda: {path.name: path.read_bytes() for path in samples.glob("*.pdf")})
        ids = {name: await product.upload(content) for name, content in files.items()}
        documents = {name: await product.settled(document_id) for name, document_id in ids.items()}
        outcomes = {name: document.error_code or document.status.value for name, document in documents.items()}
        assert outcomes.pop("password-protected.pdf") == "encrypted"
        assert outcomes.pop("images-only.pdf") == "no_text_layer"
        assert set(outcomes.values()) == {"ready"}
        book = documents["geotopo-book-de.pdf"]
        assert (book.pages, book.pages_done) == (117, 117)
        for name in outcomes:
            await product.assert_whole(ids[name])
        await eventually(lambda: outbox_is_empty(product))
        assert set(usage.dropped) <= set(usage.holds)
        assert len(usage.holds) == len(outcomes)
        assert "Run it through text recognition" in (documents["images-only.pdf"].error_detail or "")


async def outbox_is_empty(product: Product) -> bool:
    return not await product.rows("SELECT type FROM knowledge.outbox")


async def test_usage_is_told_once_with_the_hold(
    product: Product, usage: UsageStub, pdf_maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_worker(product, monkeypatch):
        document_id = await product.upload(pdf_maker.text("A short text about nothing."))
        document = await product.settled(document_id)
        assert document.status is DocumentStatus.READY
    # nobody consumes usage.recorded.v1 here, so it waits in the outbox
    rows = await product.rows("SELECT body FROM knowledge.outbox WHERE type = 'usage.recorded.v1'")
    assert len(rows) == 1
    (hold,) = usage.holds
    assert hold.encode() in rows[0]["body"]
    assert usage.dropped == []


async def test_a_refused_hold_fails_the_document_before_any_token(
    product: Product, usage: UsageStub, pdf_maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage.refuse = True
    async with running_worker(product, monkeypatch):
        document_id = await product.upload(pdf_maker.text("A short text about nothing."))
        document = await product.settled(document_id)
        assert (document.error_code, document.retryable) == ("quota_exceeded", True)
        usage.refuse = False
        async with product.registry_uow(TENANT) as (_, registry):
            await registry.retry(TENANT, document.id)
        assert (await product.settled(document_id)).status is DocumentStatus.READY


async def test_a_document_whose_ticket_was_lost_is_found(
    product: Product, pdf_maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_worker(product, monkeypatch):
        document_id = await product.upload(pdf_maker.text("Nobody sent a message for this."), ticket=False)
        assert (await product.settled(document_id, timeout=5)).status is DocumentStatus.READY


async def test_a_missing_file_is_told(product: Product, pdf_maker, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_worker(product, monkeypatch):
        document_id = await product.upload(pdf_maker.text("x"), blob=False)
        assert (await product.settled(document_id)).error_code == "file_missing"


async def test_a_file_that_is_not_what_was_uploaded_is_told(
    product: Product, pdf_maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    document_id = await product.upload(pdf_maker.text("As it was uploaded."), ticket=False)
    (path,) = [path for path in product.folder.rglob("*") if path.is_file()]
    path.write_bytes(pdf_maker.text("As it was exchanged."))
    async with running_worker(product, monkeypatch):
        document = await product.settled(document_id)
        assert (document.error_code, document.retryable) == ("file_corrupt", True)


async def test_all_that_must_go_on_beside_the_documents_is_started(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K5."""
    async with running_worker(product, monkeypatch) as container:
        assert container.background == {
            "relay",
            "waiting",
            "exhausted",
            "queue",
            "tombstones",
            "abandoned_uploads",
            "provider_calls",
            "late_settlements",
            "compare_books",
            "old_provider_calls",
        }


async def test_a_worker_whose_sign_of_life_was_cut_takes_it_again(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K5."""
    locks = (
        "SELECT l.pid, l.objid FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = $1 "
        "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    async with running_worker(product, monkeypatch):
        (before,) = await product.rows(locks, LOCK_CLASS)
        await product.rows("SELECT pg_terminate_backend($1)", before["pid"])

        async def held_again() -> None:
            (after,) = await product.rows(locks, LOCK_CLASS)
            assert (after["objid"], after["pid"] == before["pid"]) == (before["objid"], False)

        await eventually(held_again)


async def test_tenants_take_turns(product: Product, pdf_maker, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [await product.upload(pdf_maker.text(f"Text number {n}."), ticket=False) for n in range(20)]
    one = await product.upload(pdf_maker.text("The other tenant's only text."), OTHER, ticket=False)
    async with running_worker(product, monkeypatch, INGEST_CONCURRENCY="2"):
        for document_id in many:
            await product.settled(document_id)
        late = await product.settled(one, OTHER)
    rows = await product.rows("SELECT id FROM knowledge.documents ORDER BY ready_at")
    assert [row["id"] for row in rows].index(late.id) <= 2


async def test_a_deleted_document_leaves_nothing(
    product: Product, long_pdf: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_worker(product, monkeypatch):
        document_id = await product.upload(long_pdf)

        async def in_work() -> None:
            assert (await product.get(document_id)).status is not DocumentStatus.QUEUED

        await eventually(in_work)
        await product.delete(document_id)

        async def gone() -> None:
            assert not await product.rows("SELECT FROM knowledge.documents WHERE id = $1", document_id)
            assert not await product.rows("SELECT FROM knowledge.chunks WHERE document_id = $1", document_id)
            assert not list(product.folder.rglob("*")), "neither files nor folders"

        await eventually(gone, 20)


async def test_a_killed_worker_s_document_is_taken_up_within_seconds(product: Product, long_pdf: bytes) -> None:
    async with worker_process(product) as first:
        document_id = await product.upload(long_pdf)

        async def in_work() -> None:
            assert (await product.get(document_id)).status is DocumentStatus.PROCESSING

        await eventually(in_work, 20, 0.005)
        first.kill()
        await first.wait()
        async with worker_process(product):
            assert (await product.settled(document_id)).status is DocumentStatus.READY
            left = await asyncio.to_thread(
                lambda: list(Path(tempfile.gettempdir()).glob(f"{WORK_FOLDER}{first.pid}-*"))
            )
            assert not left
    await product.assert_whole(document_id)


async def test_sigterm_gives_the_document_back_unspent(product: Product, long_pdf: bytes) -> None:
    async with worker_process(product, INGEST_DRAIN="1ms") as process:
        document_id = await product.upload(long_pdf)

        async def in_work() -> None:
            assert (await product.get(document_id)).status is DocumentStatus.PROCESSING

        await eventually(in_work, 20, 0.005)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 15) in (0, -signal.SIGTERM)
    document = await product.get(document_id)
    assert document.status in (DocumentStatus.QUEUED, DocumentStatus.READY)
    if document.status is DocumentStatus.QUEUED:
        assert document.attempts == 0


@pytest.fixture
async def with_provider(product: Product, stub_provider: StubProviderHandle) -> StubProviderHandle:
    product.environment |= {
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": stub_provider.base_url,
        "EMBEDDING_MODEL": "text-embedding-3-small",
        "EMBEDDING_DIMENSIONS": "64",
    }
    settings = EmbeddingSettings(
        openai_api_key="sk-test", openai_base_url=stub_provider.base_url, embedding_dimensions=64
    )
    async with product.database.connect() as admin:
        await ensure_space(admin, await find_space(settings))
    return stub_provider


async def test_provider_trouble_is_waited_out_and_no_chunk_is_embedded_twice(
    product: Product, with_provider: StubProviderHandle, long_pdf: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_provider.control(
        Rule(endpoint="embeddings", nth=(3,), status=429, retry_after=0.5),
        Rule(endpoint="embeddings", nth=(5,), status=500),
        Rule(endpoint="embeddings", nth=(7,), drop=True),
    )
    async with running_worker(product, monkeypatch):
        document_id = await product.upload(long_pdf)
        document = await product.settled(document_id, timeout=60)
        assert document.status is DocumentStatus.READY, document
    await product.assert_whole(document_id)
    counted = with_provider.counts().embedding_tokens
    assert await booked(product, estimated=False) == counted
    assert 0 < await booked(product, estimated=True) < counted, "the call whose answer was dropped"


async def booked(product: Product, *, estimated: bool) -> int:
    (row,) = await product.rows(
        "SELECT coalesce(sum(input_tokens), 0)::bigint AS tokens FROM knowledge.provider_calls WHERE estimated = $1",
        estimated,
    )
    (told,) = await product.rows(
        "SELECT coalesce(sum((body -> 'data' ->> 'input_tokens')::bigint), 0)::bigint AS tokens FROM ("
        "SELECT convert_from(body, 'utf8')::jsonb AS body FROM knowledge.outbox WHERE type = 'usage.recorded.v1') e "
        "WHERE (body -> 'data' ->> 'estimated')::boolean = $1",
        estimated,
    )
    assert row["tokens"] == told["tokens"]
    return int(row["tokens"])


async def test_a_provider_that_refuses_fails_the_document(
    product: Product, with_provider: StubProviderHandle, pdf_maker, usage: UsageStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_provider.control(Rule(endpoint="embeddings", status=401))
    async with running_worker(product, monkeypatch):
        document_id = await product.upload(pdf_maker.text("Refused."))
        document = await product.settled(document_id)
        assert (document.error_code, document.retryable) == ("provider_refused", True)
        await eventually(lambda: set(usage.dropped) == set(usage.holds))


async def test_attempts_end_in_the_dead_letter_queue_and_replay_brings_back(
    product: Product, with_provider: StubProviderHandle, pdf_maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_provider.control(Rule(endpoint="embeddings", status=500))
    async with running_worker(product, monkeypatch, INGEST_MAX_ATTEMPTS="2") as container:
        document_id = await product.upload(pdf_maker.text("Nobody embeds this."))
        document = await product.settled(document_id)
        assert (document.error_code, document.attempts) == ("embedding_unavailable", 2)

        async def buried() -> None:
            async with Broker.connect(product.environment["RABBITMQ_URL"], name="look") as broker:
                channel = await broker.channel()
                queue = await channel.declare_queue(f"{QUEUE}.dlq", passive=True)
                assert queue.declaration_result.message_count == 1

        await eventually(buried)
        with_provider.control()
        assert await container.dead_letters.replay() == 1

        async def tried_again() -> None:
            assert (await product.get(document_id)).status is DocumentStatus.READY

        await eventually(tried_again)


async def test_a_worker_that_may_bypass_row_level_security_does_not_start(
    product: Product, database: ClonedDatabase
) -> None:
    async with worker_process(product, DATABASE_URL=database.owner_url) as process:
        assert await asyncio.wait_for(process.wait(), 20) != 0
