"""Declare what the broker's table says: exchanges, queues, retry ladders and the usage stream; idempotent.

Needs a login that may configure the virtual host, over AMQP alone. https://www.rabbitmq.com/docs/quorum-queues
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, ChannelPreconditionFailed

from docuchat_common.messaging.topology import (
    DELIVERY_LIMIT,
    EXCHANGE,
    SERVICES,
    USAGE_STREAM,
    SubscriberQueue,
    dead_letter_queue,
    queues_of,
    retry_exchange,
    streamed_types,
)
from docuchat_setup.errors import SetupError

_SECONDS = 30
_PAUSE_SECONDS = 0.5
_NEVER = 1_000_000  # RabbitMQ 4 drops after 20 returns unless told otherwise; looking at a dead letter returns it
_EVENT_BYTES = 1_005  # measured, of a usage event with its overhead


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How long the usage stream keeps events: what is reached first ends an event's life."""

    max_age: str = "30D"
    max_bytes: int = 20_000_000_000

    def __str__(self) -> str:
        events = self.max_bytes / _EVENT_BYTES / 1e6
        return f"{self.max_age} or {self.max_bytes / 1e9:g} GB (about {events:.0f} million events), whichever is first"


async def declare_topology(
    admin_url: str, services: Iterable[str] = SERVICES, *, stream: StreamLimits | None = None
) -> list[str]:
    """Declare everything of `services`; what was found otherwise and left as it is is returned, a line each.

    `stream` declares the usage stream as well. Raises SetupError when the broker cannot be used.
    """
    place = urlsplit(admin_url).netloc.rpartition("@")[2]
    recovering: ChannelNotFoundEntity | None = None
    try:
        async with asyncio.timeout(_SECONDS):
            connection = await aio_pika.connect(admin_url, timeout=10)
            async with connection:
                while True:
                    try:
                        return await _declare(connection, services, stream)
                    except ChannelNotFoundEntity as error:
                        # a broker that has just started says so of quorum queues and streams that it still recovers
                        recovering = error
                        await asyncio.sleep(_PAUSE_SECONDS)
    except (AMQPError, OSError, TimeoutError) as error:
        reason = recovering if isinstance(error, TimeoutError) and recovering is not None else error
        raise SetupError(f"RabbitMQ at {place} cannot be used: {str(reason) or type(reason).__name__}") from error


async def _declare(connection: AbstractConnection, services: Iterable[str], stream: StreamLimits | None) -> list[str]:
    async with connection.channel() as channel:
        await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
    # a subscriber on a channel of its own: the broker takes its time for a quorum queue, and does several at once
    queues = [queue for service in services for queue in queues_of(service)]
    left = await asyncio.gather(*(declare_subscriber(connection, queue) for queue in queues))
    if stream is not None:  # last: an event that is routed to the stream alone would not wait for its subscriber
        left.append(await _declare_stream(connection, stream))
    return [line for lines in left for line in lines]


async def declare_subscriber(connection: AbstractConnection, queue: SubscriberQueue) -> list[str]:
    """Declare one subscriber's queues and bind them; what was left otherwise than wanted, a line each."""
    left: list[str] = []
    async with connection.channel() as channel:
        retry = await channel.declare_exchange(
            retry_exchange(queue.service), aio_pika.ExchangeType.DIRECT, durable=True
        )
    wanted: dict[str, dict[str, Any]] = {dead_letter_queue(queue.name): {"x-delivery-limit": _NEVER}}
    for attempt, wait in enumerate(queue.retry.steps, start=1):
        wanted[queue.retry.queue_name(queue.name, attempt)] = {
            "x-message-ttl": int(wait.total_seconds() * 1000),
            **_dead_letter_to(queue.name),
        }
    for name, arguments in wanted.items():
        left += await _declare_queue(connection, name, arguments, bind_to=(retry.name, name))
    main = {"x-delivery-limit": DELIVERY_LIMIT, **_dead_letter_to(dead_letter_queue(queue.name))}
    left += await _declare_queue(connection, queue.name, main, bind_to=(EXCHANGE, queue.event_type))
    return left


async def _declare_queue(
    connection: AbstractConnection, name: str, arguments: dict[str, Any], *, bind_to: tuple[str, str]
) -> list[str]:
    """Declare and bind; a queue with other arguments is made anew when it is empty, else left and told."""
    for last_try in (False, True):
        async with connection.channel() as channel:
            try:
                queue = await channel.declare_queue(
                    name, durable=True, arguments={"x-queue-type": "quorum", **arguments}
                )
                await queue.bind(*bind_to)
            except ChannelPreconditionFailed:
                if last_try or not await _delete_if_empty(connection, name):
                    return [f"queue {name} has other arguments and holds messages; empty or delete it, then run again"]
            else:
                return []
    return []


async def _delete_if_empty(connection: AbstractConnection, name: str) -> bool:
    async with connection.channel() as channel:
        try:
            found = await channel.declare_queue(name, passive=True)
        except ChannelNotFoundEntity:
            return True
        if found.declaration_result.message_count:
            return False
        await channel.queue_delete(name)
        return True


async def _declare_stream(connection: AbstractConnection, limits: StreamLimits) -> list[str]:
    arguments: dict[str, Any] = {
        "x-queue-type": "stream",
        "x-max-length-bytes": limits.max_bytes,
        "x-max-age": limits.max_age,
    }
    left: list[str] = []
    async with connection.channel() as channel:
        try:
            await channel.declare_queue(USAGE_STREAM, durable=True, arguments=arguments)
        except ChannelPreconditionFailed:
            left = [f"the stream {USAGE_STREAM} keeps its old limits; delete it to have {limits}"]
    async with connection.channel() as channel:
        await _bind_stream(channel)
    return left


async def _bind_stream(channel: AbstractChannel) -> None:
    stream = await channel.get_queue(USAGE_STREAM, ensure=False)
    for event_type in streamed_types():
        await stream.bind(EXCHANGE, event_type)


def _dead_letter_to(queue: str) -> dict[str, str]:
    """Dead-letter into `queue` through the default exchange, at least once (needs reject-publish on overflow)."""
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
