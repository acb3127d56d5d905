"""Outbox and relay: what is committed reaches the broker, once and in order; the inbox absorbs repeats."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from prometheus_client import REGISTRY

from docuchat_common.audit import entry
from docuchat_common.background import Background
from docuchat_common.db import Database, UnitOfWork
from docuchat_common.db.ddl import inbox_ddl, outbox_ddl
from docuchat_common.events.catalogue import KeyRotated, UsageRecorded
from docuchat_common.events.chats import ChatMessageCompleted
from docuchat_common.ids import TenantId, uuid7
from docuchat_common.messaging.broker import Broker, Publisher
from docuchat_common.messaging.consumer import Consumer
from docuchat_common.messaging.inbox import Inbox
from docuchat_common.messaging.outbox import Outbox
from docuchat_common.messaging.relay import Relay
from docuchat_common.messaging.subscriptions import Subscription
from docuchat_testkit.broker import TestBroker
from docuchat_testkit.databases import ClonedDatabase
from docuchat_testkit.eventually import eventually
from docuchat_testkit.messaging import QUEUE, Script, usage
from docuchat_testkit.servers import TestServers

SCHEMA = "messaging_test"

Opened = tuple[UnitOfWork["Tx"], Database]


def completed() -> ChatMessageCompleted:
    """News that no service of ours takes."""
    ids = {name: uuid7() for name in ("chat_id", "message_id", "turn_id", "user_id")}
    return ChatMessageCompleted(tenant_id=1, model="m", finish_reason="stop", citations=0, **ids)


class SlowPublisher:
    """Publishes when it is told to; remembers what."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.published: list[UUID] = []

    async def publish(self, body: bytes, *, routing_key: str, message_id: UUID, headers: Mapping[str, str]) -> None:
        self.begun.set()
        await self.may_end.wait()
        self.published.append(message_id)


@dataclass(frozen=True)
class Tx:
    outbox: Outbox
    inbox: Inbox


@pytest.fixture
async def uow_and_database(database: ClonedDatabase) -> AsyncIterator[Opened]:
    async with database.connect() as connection:
        await connection.execute(f"CREATE SCHEMA {SCHEMA}")
        roles = {"app": ("docuchat_usage",), "system": ("docuchat_usage_system",)}
        await connection.execute(outbox_ddl(SCHEMA, app_roles=roles["app"], system_roles=roles["system"]))
        await connection.execute(inbox_ddl(SCHEMA, roles=roles["app"], system_roles=roles["system"]))
    async with database.open("usage") as opened:

        def compose(_: asyncpg.Connection, outbox: Outbox, inbox: Inbox) -> Tx:
            return Tx(outbox, inbox)

        yield UnitOfWork(opened, compose, schema=SCHEMA, service="chat"), opened


async def outbox_rows(database: ClonedDatabase) -> int:
    async with database.connect() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM messaging_test.outbox"))


async def outbox_types(database: ClonedDatabase) -> set[str]:
    async with database.connect() as connection:
        return {row["type"] for row in await connection.fetch("SELECT DISTINCT type FROM messaging_test.outbox")}


class TestOutbox:
    async def test_a_rolled_back_transaction_publishes_nothing(
        self, uow_and_database: Opened, database: ClonedDatabase
    ) -> None:
        uow, _ = uow_and_database
        with pytest.raises(ZeroDivisionError):
            async with uow(TenantId(1)) as tx:
                tx.outbox.add(usage("lost"))
                raise ZeroDivisionError
        assert await outbox_rows(database) == 0

    async def test_a_swallowed_error_of_a_statement_is_not_taken_for_a_commit(
        self, uow_and_database: Opened, database: ClonedDatabase
    ) -> None:
        uow, _ = uow_and_database
        event = usage("lost")
        with pytest.raises(RuntimeError, match="rolled back"):
            async with uow(TenantId(1)) as tx:
                assert await tx.inbox.claim("test", event.id)
                with contextlib.suppress(asyncpg.PostgresError):
                    await tx.inbox._connection.execute("SELECT 1 / 0")

    async def test_an_event_of_another_tenant_is_refused_by_the_database(self, uow_and_database: Opened) -> None:
        uow, _ = uow_and_database
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with uow(TenantId(2)) as tx:
                tx.outbox.add(usage("foreign"))

    async def test_an_event_that_the_service_does_not_publish_is_a_mistake(self, uow_and_database: Opened) -> None:
        uow, _ = uow_and_database
        with pytest.raises(ValueError, match=r"chat does not publish key\.rotated\.v1"):
            async with uow(TenantId(1)) as tx:
                tx.outbox.add(KeyRotated(tenant_id=1, kid="k"))


class TestRelay:
    async def test_events_without_their_subscriber_wait_and_news_that_nobody_must_take_goes_on(
        self, uow_and_database: Opened, database: ClonedDatabase, rabbitmq: TestBroker
    ) -> None:
        uow, opened = uow_and_database
        before = unroutable(ChatMessageCompleted.type)
        async with uow(TenantId(1)) as tx:
            tx.outbox.add(usage("needed"))
            tx.outbox.add(completed())
        rabbitmq.declare("chat")
        async with (
            Broker.connect(rabbitmq.url("chat"), name="chat") as chat,
            Broker.connect(rabbitmq.url("usage"), name="usage") as own,
        ):
            relay = Relay(opened, SCHEMA, Publisher(chat), service="chat")
            await relay.relay_batch()
            assert await outbox_rows(database) == 1
            assert unroutable(ChatMessageCompleted.type) == before
            assert unroutable(UsageRecorded.type) > 0
            await asyncio.to_thread(rabbitmq.declare, "usage")
            script = Script()
            consumer = Consumer(own, [Subscription(QUEUE, UsageRecorded, script.handle)])
            consumer.start()

            async def arrived() -> None:
                await relay.relay_batch()
                assert script.handled == ["needed"]

            await eventually(arrived)
            assert await outbox_rows(database) == 0
            await consumer.stop(timedelta(seconds=5))

    async def test_three_hundred_unroutable_events_at_the_head_silence_nobody(
        self, uow_and_database: Opened, database: ClonedDatabase, rabbitmq: TestBroker
    ) -> None:
        uow, opened = uow_and_database
        async with uow(TenantId(1)) as tx:
            for number in range(300):
                tx.outbox.add(usage(f"stuck {number}"))
            tx.outbox.add(completed())
        rabbitmq.declare("chat")
        async with Broker.connect(rabbitmq.url("chat"), name="chat") as chat:
            relay = Relay(opened, SCHEMA, Publisher(chat), service="chat", held_up_seconds=3600)
            passes = 0
            while await relay.relay_batch():
                passes += 1
                assert passes < 5
            assert await outbox_types(database) == {UsageRecorded.type}
            assert lag("chat") > 0
            tried = unroutable(UsageRecorded.type)
            async with uow(TenantId(1)) as tx:
                tx.outbox.add(completed())
            await relay.relay_batch()
            assert unroutable(UsageRecorded.type) == tried  # they wait for their time, while others go by
            assert await outbox_types(database) == {UsageRecorded.type}

    async def test_a_service_relays_its_own_events_of_a_schema_that_it_shares(
        self, uow_and_database: Opened, database: ClonedDatabase, rabbitmq: TestBroker
    ) -> None:
        uow, opened = uow_and_database
        async with uow(TenantId(1)) as tx:
            tx.outbox.add(completed())
            tx.outbox.add(entry(None, "chat.create", tenant_id=TenantId(1)))  # of a type that auth publishes, too
        rabbitmq.declare()
        async with Broker.connect(rabbitmq.url("auth"), name="auth") as auth:
            await Relay(opened, SCHEMA, Publisher(auth), service="auth").relay_batch()
        assert await outbox_rows(database) == 2

    async def test_two_relays_never_publish_at_once(self, uow_and_database: Opened, database: ClonedDatabase) -> None:
        uow, opened = uow_and_database
        event = completed()
        async with uow(TenantId(1)) as tx:
            tx.outbox.add(event)
        first, second = SlowPublisher(), SlowPublisher()
        relaying = asyncio.create_task(Relay(opened, SCHEMA, first, service="chat").relay_batch())  # type: ignore[arg-type]
        await first.begun.wait()
        second.may_end.set()
        assert await Relay(opened, SCHEMA, second, service="chat").relay_batch() is False  # type: ignore[arg-type]
        first.may_end.set()
        await relaying
        assert (first.published, second.published) == ([event.id], [])
        assert await outbox_rows(database) == 0

    async def test_relays_of_one_schema_take_turns_and_publish_each_event_once_in_order(
        self, uow_and_database: Opened, rabbitmq: TestBroker
    ) -> None:
        uow, opened = uow_and_database
        wanted = [f"m{number}" for number in range(120)]
        async with uow(TenantId(1)) as tx:
            for model in wanted:
                tx.outbox.add(usage(model))
        rabbitmq.declare("usage")
        async with (
            Broker.connect(rabbitmq.url("usage"), name="usage") as own,
            Broker.connect(rabbitmq.url("chat"), name="one") as one,
            Broker.connect(rabbitmq.url("chat"), name="two") as two,
        ):
            script = Script()
            consumer = Consumer(own, [Subscription(QUEUE, UsageRecorded, script.handle, prefetch=1)])
            consumer.start()
            await eventually(consumer.check)
            relays = [
                Relay(opened, SCHEMA, Publisher(broker), service="chat", batch=50, poll_seconds=0.05)
                for broker in (one, two)
            ]
            async with Background() as background:
                for number, relay in enumerate(relays):
                    background.start(f"relay {number}", relay.run)
                await eventually(lambda: len(script.handled) >= len(wanted))
            await consumer.stop(timedelta(seconds=5))
        assert script.handled == wanted


def unroutable(event_type: str) -> float:
    return REGISTRY.get_sample_value("docuchat_outbox_unroutable_total", {"type": event_type}) or 0


def lag(service: str) -> float:
    return REGISTRY.get_sample_value("docuchat_outbox_lag_seconds", {"service": service}) or 0


async def test_the_inbox_lets_an_effect_happen_once_under_concurrent_repeats(
    uow_and_database: Opened,
) -> None:
    uow, _ = uow_and_database
    event = usage("once")

    async def claim() -> bool:
        async with uow(TenantId(1)) as tx:
            return await tx.inbox.claim("test", event.id)

    assert sum(await asyncio.gather(*(claim() for _ in range(8)))) == 1


async def test_a_claim_of_a_rolled_back_effect_is_free_again(uow_and_database: Opened) -> None:
    uow, _ = uow_and_database
    event = usage("again")
    with pytest.raises(ZeroDivisionError):
        async with uow(TenantId(1)) as tx:
            assert await tx.inbox.claim("test", event.id)
            raise ZeroDivisionError
    async with uow(TenantId(1)) as tx:
        assert await tx.inbox.claim("test", event.id)


async def test_only_old_claims_are_forgotten(uow_and_database: Opened, database: ClonedDatabase) -> None:
    uow, _ = uow_and_database
    old, fresh = uuid4(), uuid4()
    async with uow(TenantId(1)) as tx:
        assert await tx.inbox.claim("test", old)
        assert await tx.inbox.claim("test", fresh)
    async with database.connect() as connection:
        await connection.execute(
            "UPDATE messaging_test.inbox SET received_at = now() - interval '8 days' WHERE event_id = $1", old
        )
    async with uow.system() as tx:
        await tx.inbox.forget(timedelta(days=7))
    async with uow(TenantId(1)) as tx:
        assert await tx.inbox.claim("test", old)
        assert not await tx.inbox.claim("test", fresh)


# aiormq leaves a coroutine of its own unawaited when the broker dies in the middle of a handshake
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.full
async def test_consumer_and_relay_recover_from_a_killed_broker(
    uow_and_database: Opened, breakable_servers: TestServers
) -> None:
    assert breakable_servers.rabbitmq is not None
    uow, opened = uow_and_database
    rabbitmq = TestBroker(breakable_servers.new_rabbitmq_url())
    await asyncio.to_thread(rabbitmq.declare, "usage")
    script = Script()
    async with (
        Broker.connect(rabbitmq.url("usage"), name="usage") as own,
        Broker.connect(rabbitmq.url("chat"), name="chat") as chat,
    ):
        consumer = Consumer(own, [Subscription(QUEUE, UsageRecorded, script.handle)])
        consumer.start()
        relay = Relay(opened, SCHEMA, Publisher(chat), service="chat")
        async with Background() as background:
            background.start("relay", relay.run)
            async with uow(TenantId(1)) as tx:
                tx.outbox.add(usage("before"))
            await eventually(lambda: script.handled == ["before"])
            # RabbitMQ 3.10 does not recover a quorum queue that was declared a moment before a SIGKILL; an orderly
            # restart writes its metadata down
            await asyncio.to_thread(breakable_servers.rabbitmq.stop)
            await asyncio.to_thread(breakable_servers.rabbitmq.start)
            await eventually(consumer.check)
            await asyncio.to_thread(breakable_servers.rabbitmq.kill)
            async with uow(TenantId(1)) as tx:
                tx.outbox.add(usage("during"))
            await asyncio.to_thread(breakable_servers.rabbitmq.start)
            await eventually(lambda: script.handled == ["before", "during"])
        await consumer.stop(timedelta(seconds=5))
    breakable_servers.drop_rabbitmq_url(rabbitmq.admin_url)
