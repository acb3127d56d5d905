"""What was given up: seen by type and reason, and brought back to the queue that it came from.

Only ids and codes leave the broker by this; bodies are never shown.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue, HeadersType
from aio_pika.exceptions import ChannelNotFoundEntity

from docuchat_common.errors import NotFound, UpstreamUnavailable
from docuchat_common.events.envelope import Event, MalformedEvent, open_envelope
from docuchat_common.ids import TenantId
from docuchat_common.messaging.broker import BROKER_ERRORS, SETUP_HINT, Broker
from docuchat_common.messaging.fates import ATTEMPT_HEADER, REASON_HEADER, put_copy
from docuchat_common.messaging.topology import (
    RetryLadder,
    SubscriberQueue,
    dead_letter_queue,
    queue_name,
    queues_of,
    retry_exchange,
)

logger = structlog.get_logger()

_LOOK_AT = 1_000
_SHOWN_IDS = 5
_SECONDS = 60


class NoSuchQueue(NotFound):
    """There is no such queue; the list of dead letters names them."""

    code = "queue_not_found"


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The messages of one queue that were given up for one reason."""

    queue: str
    type: str
    reason: str
    count: int
    oldest: timedelta
    """How long ago the first of them was given up."""
    ids: tuple[UUID, ...]
    """Of the first few of them that have one."""


class DeadLetterOffice:
    """The dead letters of one service's queues."""

    def __init__(self, broker: Broker, service: str) -> None:
        self._broker = broker
        self._service = service
        self._queues = {queue.name: queue for queue in queues_of(service)}

    async def list(self) -> list[DeadLetters]:
        """What was given up, the first thousand of each queue, by queue, type and reason."""
        found: list[DeadLetters] = []
        for queue in self._queues:
            async with self._dead_letters_of(queue) as (_, dead):
                messages = await _take(dead, _LOOK_AT)
                found += _summed_up(self._queues[queue], messages)
                for message in messages:
                    await message.nack(requeue=True)
        return found

    async def replay(self, queue: str | None = None, *, limit: int = 10_000) -> int:
        """Bring up to `limit` dead letters of `queue`, or of each queue, back with a fresh ladder; returns how many.

        They go by the ladder's first step, since nobody writes to another's queue.
        """
        if queue is not None and queue not in self._queues:
            raise NoSuchQueue
        moved = 0
        for name in [queue] if queue else list(self._queues):
            async with self._dead_letters_of(name) as (channel, dead):
                moved += await self._replay(channel, dead, name, limit)
        logger.info("dead_letters.replayed", queue=queue or "all", messages=moved)
        return moved

    async def discard(self, queue: str, *, limit: int = 10_000) -> int:
        """Forget up to `limit` dead letters of `queue`, for good; returns how many. Raises NoSuchQueue."""
        if queue not in self._queues:
            raise NoSuchQueue
        async with self._dead_letters_of(queue) as (_, dead):
            messages = await _take(dead, limit)
            for message in messages:
                await message.ack()
        logger.warning("dead_letters.discarded", queue=queue, messages=len(messages), ids=_ids(messages))
        return len(messages)

    async def discard_of(self, tenant_id: TenantId, *, limit: int = 10_000) -> int:
        """Forget the dead letters of a deleted tenant, among the first `limit` of each queue; returns how many."""
        discarded = 0
        for queue in self._queues:
            async with self._dead_letters_of(queue) as (_, dead):
                for message in await _take(dead, limit):
                    if _tenant_of(message) == tenant_id:
                        await message.ack()
                        discarded += 1
                    else:
                        await message.nack(requeue=True)
        return discarded

    async def add(self, event: Event, *, publisher: str, reason: str) -> None:
        """Lay an event with the dead letters of our queue for it, as if it had come from `publisher` and failed."""
        queue = queue_name(self._service, event.type)
        message = aio_pika.Message(
            event.to_cloudevent(publisher),
            headers={REASON_HEADER: reason},
            content_type="application/cloudevents+json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=str(event.id),
            timestamp=datetime.now(UTC),
            type=event.type,
            user_id=self._broker.login,
        )
        async with self._channel() as channel:
            exchange = await channel.get_exchange(retry_exchange(self._service), ensure=False)
            await exchange.publish(message, dead_letter_queue(queue), mandatory=True, timeout=10)

    async def _replay(self, channel: AbstractChannel, dead: AbstractQueue, queue: str, limit: int) -> int:
        # what fails again while we replay comes back to this queue: it is left for the next time
        waiting = min(limit, _depth(dead))
        target = RetryLadder().queue_name(queue, 1)
        moved = 0
        while moved < waiting and (message := await dead.get(fail=False, timeout=5)) is not None:
            await put_copy(channel, message, target, _fresh(message.headers), login=self._broker.login)
            await message.ack()
            moved += 1
        return moved

    @asynccontextmanager
    async def _dead_letters_of(self, queue: str) -> AsyncIterator[tuple[AbstractChannel, AbstractQueue]]:
        async with self._channel() as channel:
            try:
                dead = await channel.declare_queue(dead_letter_queue(queue), passive=True)
            except ChannelNotFoundEntity as error:
                raise UpstreamUnavailable(f"The queue {queue} is not declared; {SETUP_HINT}.") from error
            yield channel, dead

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[AbstractChannel]:
        """A channel whose end gives back what was not settled; the broker's trouble is UpstreamUnavailable."""
        try:
            async with asyncio.timeout(_SECONDS):
                channel = await self._broker.channel(on_return_raises=True)
                async with channel:
                    yield channel
        except BROKER_ERRORS as error:
            raise UpstreamUnavailable("RabbitMQ does not answer.", retry_after=timedelta(seconds=2)) from error


def _depth(queue: AbstractQueue) -> int:
    return queue.declaration_result.message_count or 0


async def _take(queue: AbstractQueue, limit: int) -> list[AbstractIncomingMessage]:
    taken: list[AbstractIncomingMessage] = []
    while len(taken) < min(limit, _depth(queue)) and (message := await queue.get(fail=False, timeout=5)) is not None:
        taken.append(message)
    return taken


def _summed_up(queue: SubscriberQueue, messages: list[AbstractIncomingMessage]) -> list[DeadLetters]:
    now = datetime.now(UTC)
    groups: dict[str, list[AbstractIncomingMessage]] = {}
    for message in messages:
        groups.setdefault(_reason(message), []).append(message)
    return [
        # what a message says of itself could be anything; the queue takes one type only
        DeadLetters(
            queue.name,
            queue.event_type,
            reason,
            len(group),
            max(now - (message.timestamp or now) for message in group),
            tuple(_ids(group)),
        )
        for reason, group in sorted(groups.items())
    ]


def _ids(messages: list[AbstractIncomingMessage]) -> list[UUID]:
    """The ids of the first few, by which logs know them; a malformed id could be anything, and is left out."""
    found: list[UUID] = []
    for message in messages:
        with suppress(ValueError):
            found.append(UUID(message.message_id or ""))
        if len(found) == _SHOWN_IDS:
            break
    return found


def _tenant_of(message: AbstractIncomingMessage) -> int | None:
    try:
        tenant_id: int = open_envelope(message.body).fields["tenant_id"]
    except MalformedEvent:
        return None
    return tenant_id


def _reason(message: AbstractIncomingMessage) -> str:
    """Our own code, or the broker's word when it gave the message up itself (`delivery_limit`)."""
    own = message.headers.get(REASON_HEADER) or message.headers.get("x-first-death-reason")
    return str(own)[:100] if own else "unknown"


def _fresh(headers: HeadersType) -> HeadersType:
    """The headers without what an earlier life left in them."""
    ours = {ATTEMPT_HEADER, REASON_HEADER, "x-delivery-count"}
    return {name: value for name, value in headers.items() if name not in ours and "death" not in name}
