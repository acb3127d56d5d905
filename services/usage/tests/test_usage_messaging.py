"""Usage events on a real broker: each takes effect once, and history can be replayed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest

from docuchat_common.contracts.holds import Amount, HoldKind, HoldRequest, HoldUnit
from docuchat_common.events.catalogue import (
    DocumentDeleted,
    DocumentReady,
    DocumentUploaded,
    QuotaThreshold,
    TenantCreated,
    UsageRecorded,
    parse_event,
)
from docuchat_common.ids import uuid7
from docuchat_common.messaging.broker import Broker
from docuchat_common.messaging.topology import USAGE_STREAM
from docuchat_testkit.eventually import eventually
from docuchat_testkit.messaging import Others, others
from docuchat_usage.bootstrap import Container, open_container
from docuchat_usage.quotas.domain import Subject, Unit
from docuchat_usage.settings import Settings

if TYPE_CHECKING:
    from docuchat_common.events.envelope import Event
    from docuchat_testkit.broker import TestBroker
    from docuchat_testkit.databases import ClonedDatabase


@pytest.fixture
def settings(service_environment: Callable[[str], dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in service_environment("usage").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOLD_SWEEP_INTERVAL", "100ms")
    return Settings()


@asynccontextmanager
async def running(settings: Settings, rabbitmq: TestBroker) -> AsyncIterator[tuple[Container, Others]]:
    """The service with its consumers established, and the others, which publish."""
    async with open_container(settings) as container, others(rabbitmq) as publishers:
        await eventually(container.watched["rabbitmq"])
        yield container, publishers


def recorded(tenant: int, tokens: int, **changes: Any) -> UsageRecorded:
    given: dict[str, Any] = {
        "tenant_id": tenant, "kind": "chat", "provider": "openai", "model": "gpt-4o-mini", "input_tokens": tokens,
        "output_tokens": 0, "estimated": False, "user_id": uuid7(), **changes,
    }  # fmt: skip
    return UsageRecorded(**given)


def wish(tenant: int, tokens: int, lease: timedelta) -> HoldRequest:
    return HoldRequest(
        tenant_id=tenant, kind=HoldKind.CHAT, provider="openai", model="gpt-4o-mini", lease=lease,
        amounts=(Amount(unit=HoldUnit.INPUT_TOKENS, amount=tokens),),
    )  # fmt: skip


async def tables(database: ClonedDatabase) -> dict[str, list[tuple[Any, ...]]]:
    """What a run leaves behind, without the marks of when it ran."""
    queries = {
        "ledger": "SELECT tenant_id, event_id, hold_id, user_id, kind, model, input_tokens, output_tokens,"
        " embedding_tokens, cost, price_id, occurred_at FROM usage.ledger ORDER BY event_id",
        "budgets": "SELECT tenant_id, subject_type, subject_id, unit, used, held, notified FROM usage.budgets"
        " ORDER BY 1, 2, 3, 4",
        "holds": "SELECT id, tenant_id, units, amounts, state FROM usage.holds ORDER BY id",
        "sums": "SELECT tenant_id, span, starts_at, user_id, model, kind, input_tokens, cost FROM usage.sums"
        " ORDER BY 1, 2, 3, 4, 5, 6",
    }
    async with database.connect() as connection:
        return {name: [tuple(row) for row in await connection.fetch(query)] for name, query in queries.items()}


async def test_three_deliveries_in_any_order_leave_the_same_tables_as_one_in_order(
    settings: Settings, database: ClonedDatabase, rabbitmq: TestBroker
) -> None:
    async with running(settings, rabbitmq) as (container, publisher):
        events: list[UsageRecorded] = []
        for number in range(60):
            tenant = 1 + number % 3
            user = uuid7()
            hold = await container.quotas.hold(wish(tenant, 150, timedelta(minutes=10)))
            time = datetime.now(UTC) - timedelta(seconds=number)
            events.append(recorded(tenant, number, user_id=user, hold_id=hold.id, time=time))
        shuffled = events * 3
        random.Random(4).shuffle(shuffled)
        await asyncio.gather(*(publisher.publish(event) for event in shuffled))

        async def all_booked() -> None:
            async with database.connect() as connection:
                assert await connection.fetchval("SELECT count(*) FROM usage.ledger") == len(events)
            assert await queue_length(rabbitmq.admin_url) == 0

        await eventually(all_booked)
        shuffled_result = await tables(database)
    expected = {
        tenant: sum(event.input_tokens for event in events if event.tenant_id == tenant) for tenant in (1, 2, 3)
    }
    used = {row[0]: row[4:6] for row in shuffled_result["budgets"] if row[3] == "tokens"}
    assert used == {tenant: (tokens, 0) for tenant, tokens in expected.items()}
    async with database.connect() as connection:  # the same events once, in order, on clean counters and open holds
        await connection.execute("DELETE FROM usage.ledger")
        await connection.execute("DELETE FROM usage.sums")
        await connection.execute("UPDATE usage.holds SET state = 'held', closed_at = NULL")
        await connection.execute(
            """
            UPDATE usage.budgets b SET used = 0, held = h.amount
            FROM (SELECT h.tenant_id, a.unit, sum(a.amount) AS amount
                  FROM usage.holds h CROSS JOIN unnest(h.units, h.amounts) AS a (unit, amount) GROUP BY 1, 2) h
            WHERE h.tenant_id = b.tenant_id AND h.unit = b.unit
            """
        )
    async with running(settings, rabbitmq) as (_, publisher):
        for event in events:
            await publisher.publish(event)
        await eventually(all_booked)
    assert await tables(database) == shuffled_result


async def queue_length(url: str, name: str = "usage.usage-recorded.v1") -> int:
    """Messages that are ready or being handled."""
    async with Broker.connect(url, name="look") as broker:
        channel = await broker.channel()
        queue = await channel.declare_queue(name, passive=True)
        return queue.declaration_result.message_count or 0


async def test_holders_that_vanish_free_their_share_by_the_sweep(
    settings: Settings, database: ClonedDatabase, rabbitmq: TestBroker
) -> None:
    async with running(settings, rabbitmq) as (container, _):
        for _ in range(10):
            await container.quotas.hold(wish(1, 100, timedelta(milliseconds=200)))

        async def freed() -> None:
            async with database.connect() as connection:
                assert await connection.fetchval("SELECT sum(held) FROM usage.budgets") == 0
                assert await connection.fetchval("SELECT count(*) FROM usage.holds WHERE state = 'expired'") == 10

        await eventually(freed)


async def test_a_new_tenant_gets_its_budget(settings: Settings, database: ClonedDatabase, rabbitmq: TestBroker) -> None:
    async with running(settings, rabbitmq) as (_, publisher):
        created = TenantCreated(tenant_id=42, slug="acme", name="Acme")
        await publisher.publish(created)
        await publisher.publish(created)

        async def opened() -> None:
            async with database.connect() as connection:
                row = await connection.fetchrow(
                    "SELECT subject_id, amount_limit FROM usage.budgets WHERE tenant_id = 42 AND unit = 'tokens'"
                )
            assert row is not None
            assert tuple(row) == ("42", 50_000_000)

        await eventually(opened)


async def test_a_new_subscriber_replays_usage_and_quota_events_from_the_stream(
    settings: Settings, database: ClonedDatabase, rabbitmq: TestBroker
) -> None:
    rabbitmq.declare(stream=True)
    async with running(settings, rabbitmq) as (container, publisher):
        await container.quotas.open_tenant(1)
        await container.quotas.set_quota(1, None, {Unit.TOKENS: 1000})
        event = recorded(1, 850)
        await publisher.publish(event)

        async def booked() -> None:
            async with database.connect() as connection:
                assert await connection.fetchval("SELECT count(*) FROM usage.ledger") == 1
                assert await connection.fetchval("SELECT count(*) FROM usage.outbox") == 0

        await eventually(booked)
    for _ in range(2):  # each subscriber reads the whole history
        history = await replay(rabbitmq.admin_url, 3)
        assert history[0] == event
        thresholds = [seen for seen in history if isinstance(seen, QuotaThreshold)]
        assert sorted(seen.percent for seen in thresholds) == [50, 80]


async def replay(url: str, count: int) -> list[Event]:
    """The first `count` events of the stream."""
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=10)
        queue = await channel.get_queue(USAGE_STREAM)
        seen: asyncio.Queue[bytes] = asyncio.Queue()

        async def keep(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            await message.ack()
            seen.put_nowait(message.body)

        await queue.consume(keep, arguments={"x-stream-offset": "first"})
        async with asyncio.timeout(30):
            return [parse_event(await seen.get()) for _ in range(count)]


async def test_an_absurd_event_is_dead_lettered_and_the_others_are_booked(
    settings: Settings, database: ClonedDatabase, rabbitmq: TestBroker
) -> None:
    async with running(settings, rabbitmq) as (_, publisher):
        events = [recorded(1, tokens) for tokens in (10, 10**15, 20)]
        await asyncio.gather(*(publisher.publish(event) for event in events))

        async def parted() -> None:
            async with database.connect() as connection:
                assert await connection.fetchval("SELECT sum(input_tokens) FROM usage.ledger") == 30
            assert await queue_length(rabbitmq.admin_url, "usage.usage-recorded.v1.dlq") == 1

        await eventually(parted)


async def test_documents_count_once_whatever_the_order_of_their_events(
    settings: Settings, database: ClonedDatabase, rabbitmq: TestBroker
) -> None:
    kept, gone, user = uuid7(), uuid7(), uuid7()
    async with running(settings, rabbitmq) as (container, publisher):
        hold = await container.quotas.hold(
            HoldRequest(
                tenant_id=1,
                kind=HoldKind.UPLOAD,
                lease=timedelta(minutes=5),
                amounts=(Amount(unit=HoldUnit.DOCUMENTS, amount=1), Amount(unit=HoldUnit.BYTES, amount=5000)),
            )
        )
        events: list[Event] = []
        for document in (kept, gone):
            common: dict[str, Any] = {"tenant_id": 1, "document_id": document}
            events += [
                DocumentReady(**common, pages=7, chunks=9, tokens=99, generation=2),
                DocumentReady(**common, pages=3, chunks=9, tokens=99, generation=1),
                DocumentUploaded(
                    **common, collection_id=uuid7(), user_id=user, sha256="0" * 64, size_bytes=4000,
                    media_type="text/plain", hold_id=hold.id if document == kept else None,
                ),
            ]  # fmt: skip
        events.append(DocumentDeleted(tenant_id=1, document_id=gone, user_id=user))
        shuffled = events * 2
        random.Random(5).shuffle(shuffled)
        for event in shuffled:
            await publisher.publish(event)

        async def counted() -> None:
            async with database.connect() as connection:
                rows = await connection.fetch(
                    "SELECT unit, used, held FROM usage.budgets WHERE subject_type = 'tenant'"
                )
                seen = await connection.fetchval("SELECT count(*) FROM usage.stored_documents WHERE pages = 7")
            found = {row["unit"]: (row["used"], row["held"]) for row in rows}
            assert (found["documents"], found["pages"], found["bytes"]) == ((1, 0), (7, 0), (4000, 0))
            assert seen == 2
            for queue in ("uploaded", "ready", "deleted"):
                assert await queue_length(rabbitmq.admin_url, f"usage.document-{queue}.v1") == 0

        await eventually(counted)
        await container.quotas.set_quota(1, user, {Unit.BYTES: 4001})
        assert (await container.quotas.get_quota(1, user))[Subject.USER][Unit.BYTES].used == 4000


async def test_all_that_must_go_on_beside_the_requests_is_started(settings: Settings, rabbitmq: TestBroker) -> None:
    async with running(settings, rabbitmq) as (container, _):
        assert container.background == {
            "relay",
            "hold_sweep",
            "hold_purge",
            "ledger_forget",
            "documents_forget",
            "removals",
            "forget_repeats",
            "erasures",
        }
