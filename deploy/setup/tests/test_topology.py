"""The broker's topology and logins: declared once, repeatable, and closed to everybody else's events."""

import asyncio
import itertools

import aio_pika
import pytest
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity
from aiormq.exceptions import ChannelAccessRefused

from docuchat_common.events.catalogue import CATALOGUE, UsageRecorded
from docuchat_common.messaging.topology import (
    DELIVERY_LIMIT,
    EXCHANGE,
    SERVICES,
    USAGE_STREAM,
    dead_letter_queue,
    login_of,
    published_types,
    queues_of,
    retry_exchange,
    streamed_types,
)
from docuchat_setup import topology
from docuchat_setup.logins import refused_logins
from docuchat_setup.topology import StreamLimits, declare_topology
from docuchat_testkit.broker import TestBroker
from docuchat_testkit.eventually import eventually
from docuchat_testkit.identity import SERVICE_PASSWORD

QUEUES = [queue for service in SERVICES for queue in queues_of(service)]
EVERY_QUEUE = [
    name
    for queue in QUEUES
    for name in (
        queue.name,
        dead_letter_queue(queue.name),
        *(queue.retry.queue_name(queue.name, step) for step in range(1, len(queue.retry.steps) + 1)),
    )
]
RETRY_EXCHANGES = sorted({retry_exchange(queue.service) for queue in QUEUES})


@pytest.fixture
def declared(rabbitmq: TestBroker) -> TestBroker:
    rabbitmq.declare(stream=True)
    return rabbitmq


async def test_what_the_broker_still_recovers_after_its_start_is_waited_for(
    rabbitmq: TestBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare, asked = topology._declare_stream, 0

    async def recovering(connection: AbstractConnection, limits: StreamLimits) -> list[str]:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise ChannelNotFoundEntity("NOT_FOUND - home node of durable queue is down or inaccessible")
        return await declare(connection, limits)

    monkeypatch.setattr(topology, "_declare_stream", recovering)
    assert await declare_topology(rabbitmq.admin_url, stream=StreamLimits()) == []
    assert asked == 2


async def test_a_second_time_changes_nothing_and_an_empty_queue_of_old_arguments_is_made_anew(
    declared: TestBroker,
) -> None:
    assert await declare_topology(declared.admin_url) == []
    queue = QUEUES[0].name
    async with await aio_pika.connect(declared.admin_url) as admin, admin.channel() as channel:
        await channel.queue_delete(queue)
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
        assert await declare_topology(declared.admin_url) == []
        await channel.queue_delete(queue)
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(aio_pika.Message(b"kept"), queue)
        (left,) = await declare_topology(declared.admin_url)
    assert queue in left


async def test_a_stream_of_other_limits_is_kept_and_told(declared: TestBroker) -> None:
    (left,) = await declare_topology(declared.admin_url, (), stream=StreamLimits(max_bytes=60_000_000))
    assert USAGE_STREAM in left


def test_what_the_stream_keeps_is_told_by_age_size_and_events() -> None:
    assert str(StreamLimits()) == "30D or 20 GB (about 20 million events), whichever is first"


@pytest.mark.parametrize("service", SERVICES)
async def test_a_login_publishes_its_own_types_and_no_others(declared: TestBroker, service: str) -> None:
    own = set(published_types(service))
    async with await aio_pika.connect(declared.url(service)) as connection:
        for event in CATALOGUE:
            assert await can_publish(connection, EXCHANGE, event.type, service) is (event.type in own), event.type
        assert not await can_publish(connection, EXCHANGE, "anything.else.v1", service)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_login_reaches_no_queue_but_by_its_own_retry_exchange(declared: TestBroker, service: str) -> None:
    own = retry_exchange(service)
    async with await aio_pika.connect(declared.url(service)) as connection:
        for queue in EVERY_QUEUE:
            assert not await can_publish(connection, "", queue, service), queue
        for exchange, queue in itertools.product(RETRY_EXCHANGES, [QUEUES[0].name]):
            assert await can_publish(connection, exchange, queue, service, mandatory=False) is (exchange == own)
        for queue in EVERY_QUEUE:  # its own exchange leads to its ladders alone, and to none of its main queues
            ladder = queue.startswith(f"{service}.") and queue not in {queue.name for queue in QUEUES}
            if retry_exchange(service) in RETRY_EXCHANGES:
                assert await can_publish(connection, own, queue, service) is ladder, queue


@pytest.mark.parametrize("service", SERVICES)
async def test_a_login_reads_its_own_queues_and_declares_nothing(declared: TestBroker, service: str) -> None:
    async with await aio_pika.connect(declared.url(service)) as connection:
        for queue in (*EVERY_QUEUE, USAGE_STREAM):
            async with connection.channel() as channel:
                await channel.set_qos(prefetch_count=1)
                found = await channel.get_queue(queue, ensure=False)
                if queue.startswith(f"{service}."):
                    await found.consume(ignore)
                else:
                    with pytest.raises(ChannelAccessRefused):
                        await found.consume(ignore)
        for attempt in (
            lambda channel: channel.declare_queue(f"{service}.mine", durable=True),
            lambda channel: channel.declare_exchange("mine"),
            lambda channel: channel.queue_delete(EVERY_QUEUE[0]),
            lambda channel: channel.exchange_delete(EXCHANGE),
        ):
            async with connection.channel() as channel:
                with pytest.raises(ChannelAccessRefused):
                    await attempt(channel)


async def test_each_queue_gives_a_message_up_that_kills_its_consumer_again_and_again(declared: TestBroker) -> None:
    async with await aio_pika.connect(declared.admin_url) as admin, admin.channel() as channel:
        for queue in QUEUES:
            found = await channel.get_queue(queue.name)
            await channel.default_exchange.publish(aio_pika.Message(b"deadly"), queue.name)
            for _ in range(DELIVERY_LIMIT + 1):
                message = await eventually(lambda found=found: taken(found))
                await message.nack(requeue=True)
            dead = await channel.get_queue(dead_letter_queue(queue.name))
            message = await eventually(lambda dead=dead: taken(dead))
            assert message.headers["x-first-death-reason"] == "delivery_limit"
            await message.ack()


async def test_the_stream_keeps_usage_and_quota_events_for_every_reader(declared: TestBroker) -> None:
    assert UsageRecorded.type in streamed_types()
    async with await aio_pika.connect(declared.admin_url) as admin:
        async with admin.channel() as channel:
            exchange = await channel.get_exchange(EXCHANGE)
            for kind in streamed_types():
                await exchange.publish(aio_pika.Message(kind.encode()), kind)
        for _ in range(2):
            seen: list[str] = []
            async with admin.channel() as channel:
                await channel.set_qos(prefetch_count=10)
                stream = await channel.get_queue(USAGE_STREAM)

                async def keep(message: aio_pika.abc.AbstractIncomingMessage, seen: list[str] = seen) -> None:
                    seen.append(message.body.decode())
                    await message.ack()

                await stream.consume(keep, arguments={"x-stream-offset": "first"})
                await eventually(lambda seen=seen: seen == list(streamed_types()))


async def test_logins_that_the_broker_does_not_know_are_named(rabbitmq: TestBroker) -> None:
    passwords = dict.fromkeys(SERVICES, SERVICE_PASSWORD)
    assert await refused_logins(rabbitmq.admin_url, passwords) == []
    assert await refused_logins(rabbitmq.admin_url, passwords | {"chat": "wrong"}) == ["chat"]


async def can_publish(
    connection: aio_pika.abc.AbstractConnection, exchange: str, key: str, service: str, *, mandatory: bool = True
) -> bool:
    """Whether the broker takes and, if it must, routes a message; a refusal closes the channel."""
    channel = await connection.channel(on_return_raises=True)
    try:
        target = channel.default_exchange if exchange == "" else await channel.get_exchange(exchange, ensure=False)
        message = aio_pika.Message(b"{}", user_id=login_of(service))
        await asyncio.wait_for(target.publish(message, key, mandatory=mandatory and exchange != EXCHANGE), timeout=30)
    except (ChannelAccessRefused, ChannelNotFoundEntity, AMQPError):
        return False
    else:
        return True
    finally:
        if not channel.is_closed:
            await channel.close()


async def taken(queue: aio_pika.abc.AbstractQueue) -> aio_pika.abc.AbstractIncomingMessage:
    message = await queue.get(fail=False)
    assert message is not None
    return message


async def ignore(_: aio_pika.abc.AbstractIncomingMessage) -> None:
    return
