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

from docuchat_common.events.catalogue import QuotaThreshold, TenantCreated, UsageRecorded, parse_event
from docuchat_common.ids import uuid7
from docuchat_common.messaging.broker import Broker
from docuchat_common.messaging.topology import USAGE_STREAM
from docuchat_testkit.eventually import eventually
from docuchat_testkit.messaging import Others, others
from docuchat_usage.bootstrap import Container, open_container
from docuchat_usage.quotas.domain import HoldRequest, Kind
from docuchat_usage.settings import Settings

if TYPE_CHECKING:
    from docuchat_common.events.envelope import Event
    from docuchat_testkit.broker import TestBroker
    from docuchat_testkit.databases import ClonedDatabase


@pytest.fixture
def settings(service_environment: Callable[[str], dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in service_environment("usage").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOLD_SWEEP_SECONDS", "0.1")
    return Settings()


@asynccontextmanager
async def running(settings: Settings, rabbitmq: TestBroker) -> AsyncIterator[tuple[Container, Others]]:
    """The service with its consumers established, and the others, which publish."""
    async with open_container(settings) as container, others(rabbitmq) as publishers:
        await eventually(container.checks["rabbitmq"])
        yield container, publishers


def recorded(tenant: int, tokens: int, **changes: Any) -> UsageRecorded:
    given: dict[str, Any] = {
        "tenant_id": tenant, "kind": "chat", "provider": "openai", "model": "gpt-4o-mini", "input_tokens": tokens,
        "output_tokens": 0, "estimated": False, "user_id": uuid7(), **changes,
    }  # fmt: skip
    return UsageRecorded(**given)


async def tables(database: ClonedDatabase) -> dict[str, list[tuple[Any, ...]]]:
    """What a run leaves behind, without the marks of when it ran."""
    queries = {
        "ledger": "SELECT tenant_id, event_id, hold_id, user_id, kind, model, input_tokens, output_tokens,"
        " embedding_tokens, cost, price_id, occurred_at FROM usage.ledger ORDER BY event_id",
        "budgets": "SELECT tenant_id, subject_type, subject_id, tokens_used, tokens_held, cost_used, cost_held,"
        " tokens_notified, cost_notified FROM usage.budgets ORDER BY 1, 2, 3",
        "holds": "SELECT id, tenant_id, tokens, state, settled_event FROM usage.holds ORDER BY id",
        "inbox": "SELECT consumer, event_id FROM usage.inbox ORDER BY 1, 2",
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
            request = HoldRequest(tenant, Kind.CHAT, "gpt-4o-mini", 100, 50, timedelta(minutes=10), user_id=user)
            hold = await container.quotas.hold(request)
            time = datetime.now(UTC) - timedelta(seconds=number)
            events.append(recorded(tenant, number, user_id=user, hold_id=hold.id, time=time))
        shuffled = events * 3
        random.Random(4).shuffle(shuffled)
        await asyncio.gather(*(publisher.publish(event) for event in shuffled))

        async def all_booked() -> None:
            async with database.connect() as connection:
                assert await connection.fetchval("SELECT count(*) FROM usage.ledger") == len(events)
            assert await queue_length(settings) == 0

        await eventually(all_booked, timeout=30)
        shuffled_result = await tables(database)
    expected = {
        tenant: sum(event.input_tokens for event in events if event.tenant_id == tenant) for tenant in (1, 2, 3)
    }
    used = {row[0]: row[3:5] for row in shuffled_result["budgets"]}
    assert used == {tenant: (tokens, 0) for tenant, tokens in expected.items()}
    async with database.connect() as connection:  # the same events once, in order, on clean counters and open holds
        await connection.execute("DELETE FROM usage.ledger")
        await connection.execute("DELETE FROM usage.inbox")
        await connection.execute("UPDATE usage.holds SET state = 'held', settled_event = NULL, closed_at = NULL")
        await connection.execute(
            """
            UPDATE usage.budgets b SET tokens_used = 0, cost_used = 0, tokens_held = h.tokens, cost_held = h.cost
            FROM (SELECT tenant_id, sum(tokens) AS tokens, sum(cost) AS cost FROM usage.holds GROUP BY tenant_id) h
            WHERE h.tenant_id = b.tenant_id
            """
        )
    async with running(settings, rabbitmq) as (_, publisher):
        for event in events:
            await publisher.publish(event)
        await eventually(all_booked, timeout=30)
    assert await tables(database) == shuffled_result


async def queue_length(settings: Settings) -> int:
    """Messages that are ready or being handled."""
    async with Broker.connect(settings.rabbitmq_url, name="look") as broker:
        channel = await broker.channel()
        queue = await channel.declare_queue("usage.usage-recorded.v1", passive=True)
        return queue.declaration_result.message_count or 0


async def test_holders_that_vanish_free_their_share_by_the_sweep(
    settings: Settings, database: ClonedDatabase, rabbitmq: TestBroker
) -> None:
    async with running(settings, rabbitmq) as (container, _):
        for _ in range(10):
            await container.quotas.hold(HoldRequest(1, Kind.CHAT, "m", 100, 0, timedelta(milliseconds=200)))

        async def freed() -> None:
            async with database.connect() as connection:
                assert await connection.fetchval("SELECT tokens_held FROM usage.budgets") == 0
                assert await connection.fetchval("SELECT count(*) FROM usage.holds WHERE state = 'expired'") == 10

        await eventually(freed, timeout=10)


async def test_a_new_tenant_gets_its_budget(settings: Settings, database: ClonedDatabase, rabbitmq: TestBroker) -> None:
    async with running(settings, rabbitmq) as (_, publisher):
        created = TenantCreated(tenant_id=42, slug="acme", name="Acme")
        await publisher.publish(created)
        await publisher.publish(created)

        async def opened() -> None:
            async with database.connect() as connection:
                row = await connection.fetchrow(
                    "SELECT subject_id, token_limit FROM usage.budgets WHERE tenant_id = 42"
                )
            assert row is not None
            assert tuple(row) == ("42", 50_000_000)

        await eventually(opened)


async def test_a_new_subscriber_replays_usage_and_quota_events_from_the_stream(
    settings: Settings, database: ClonedDatabase, rabbitmq: TestBroker
) -> None:
    rabbitmq.declare(stream=True)
    async with running(settings, rabbitmq) as (container, publisher):
        await container.quotas.set_quota(1, None, 1000, None)
        event = recorded(1, 850)
        await publisher.publish(event)

        async def booked() -> None:
            async with database.connect() as connection:
                assert await connection.fetchval("SELECT count(*) FROM usage.ledger") == 1
                assert await connection.fetchval("SELECT count(*) FROM usage.outbox") == 0

        await eventually(booked, timeout=20)
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
        async with asyncio.timeout(10):
            return [parse_event(await seen.get()) for _ in range(count)]
