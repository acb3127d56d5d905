"""The worker on real servers: PostgreSQL, RabbitMQ, Redis, a blob folder, and a usage service of its own."""

import asyncio
import signal
import tempfile
from pathlib import Path

import pytest

from docuchat_common.messaging.broker import Broker
from docuchat_ingest.pipeline.service import WORK_FOLDER
from docuchat_knowledge.documents.domain import DocumentStatus
from docuchat_knowledge.jobs.claims import LOCK_CLASS
from docuchat_knowledge.spaces.repository import ensure_space
from docuchat_models.opening import find_space
from docuchat_models.settings import EmbeddingSettings
from docuchat_testkit.broker import TestBroker
from docuchat_testkit.databases import ClonedDatabase
from docuchat_testkit.eventually import eventually
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule

from .running import OTHER, TENANT, Product, UsageStub, running_worker, worker_process

QUEUE = "ingest.document-uploaded.v1"


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
        assert (await product.settled(document_id)).status is DocumentStatus.READY


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
            "attachments",
            "chatbots",
            "abandoned_uploads",
            "removals",
            "exports",
            "expired_exports",
            "provider_calls",
            "late_settlements",
            "compare_books",
            "old_provider_calls",
            "erasures",
            "late_files",
            "retention",
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

        await eventually(gone)


async def test_a_killed_worker_s_document_is_taken_up_within_seconds(product: Product, long_pdf: bytes) -> None:
    async with worker_process(product) as first:
        document_id = await product.upload(long_pdf)

        async def in_work() -> None:
            assert (await product.get(document_id)).status is DocumentStatus.PROCESSING

        await eventually(in_work, interval=0.005)
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

        await eventually(in_work, interval=0.005)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) in (0, -signal.SIGTERM)
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


async def test_passages_are_embedded_as_the_model_wants_them_by_a_provider_of_their_own(
    product: Product, stub_provider: StubProviderHandle, pdf_maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.environment |= {
        "EMBEDDING_BASE_URL": stub_provider.base_url,
        "EMBEDDING_API_KEY": "sk-embeddings",
        "EMBEDDING_MODEL": "intfloat/multilingual-e5-large",
        "EMBEDDING_DIMENSIONS": "1536",
    }
    for name, value in product.environment.items():
        monkeypatch.setenv(name, value)
    async with product.database.connect() as admin:
        await ensure_space(admin, await find_space(EmbeddingSettings()))
    async with running_worker(product, monkeypatch):
        document_id = await product.upload(pdf_maker.text("The kettle has a warranty of 24 months."))
        assert (await product.settled(document_id, timeout=60)).status is DocumentStatus.READY
    calls = [call for call in stub_provider.calls() if call.endpoint == "embeddings"]
    assert calls and all(call.last_message.startswith("passage: ") for call in calls)
    assert not await product.rows("SELECT 1 FROM knowledge.chunks WHERE text LIKE 'passage: %'")
    assert await booked(product, estimated=False) == stub_provider.counts().embedding_tokens


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
        assert await asyncio.wait_for(process.wait(), 60) != 0
