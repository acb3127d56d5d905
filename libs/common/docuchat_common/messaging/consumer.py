"""Consumers: acknowledge after the effect is committed, retry on a ladder of delays, dead-letter what cannot succeed.

Shutdown cancels the consumer first and waits for its handlers afterwards, so that messages nobody began stay at
delivery count 0 (order of procrastinate's worker shutdown).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Gauge, Histogram

from docuchat_common.errors import (
    DocuChatError,
    QuotaExceeded,
    RateLimited,
    UpstreamUnavailable,
)
from docuchat_common.events.catalogue import parse_event
from docuchat_common.events.envelope import Event, MalformedEvent
from docuchat_common.messaging.broker import BROKER_ERRORS, Broker
from docuchat_common.messaging.topology import RetryLadder, dead_letter_queue, declare_subscription
from docuchat_common.telemetry import traced

logger = structlog.get_logger()

E = TypeVar("E", bound=Event)

_BROKER_AWAY: tuple[type[BaseException], ...] = (UpstreamUnavailable, *BROKER_ERRORS)
ATTEMPT_HEADER = "x-docuchat-attempt"

_handled = Counter("docuchat_messages_handled", "Messages by queue and outcome.", ["queue", "outcome"])
_seconds = Histogram("docuchat_message_seconds", "Time in the handler.", ["queue"])
_in_flight = Gauge("docuchat_messages_in_flight", "Messages being handled.", ["queue"])


class Outcome(StrEnum):
    """What becomes of a message."""

    ACK = "ack"
    RETRY = "retry"
    DEAD_LETTER = "dead_letter"


def outcome_of(error: Exception) -> Outcome:
    """Category → fate: what may heal is retried (so is the unknown), what cannot is dead-lettered at once."""
    match error:
        case UpstreamUnavailable() | RateLimited() | QuotaExceeded():
            return Outcome.RETRY
        case MalformedEvent() | DocuChatError():
            return Outcome.DEAD_LETTER
        case _:
            return Outcome.RETRY


@dataclass(frozen=True)
class Delivery:
    """Facts of one delivery."""

    attempt: int
    """1 for the first delivery, one more for each climb of the ladder."""
    redelivered: bool
    """True when the broker cannot rule out that an earlier delivery was begun."""


@dataclass(frozen=True)
class Subscription(Generic[E]):
    """One service's interest in one event type."""

    queue: str
    event: type[E]
    handler: Callable[[E, Delivery], Awaitable[None]]
    prefetch: int = 8
    """How many messages are handled at once by one process."""
    retry: RetryLadder = field(default_factory=RetryLadder)


class Consumer:
    """Runs the subscriptions of one process; survives the broker going away."""

    def __init__(
        self, broker: Broker, subscriptions: Sequence[Subscription[Any]], *, watchdog_seconds: float = 15.0
    ) -> None:
        self._broker = broker
        self._runners = [_Runner(broker, subscription, watchdog_seconds) for subscription in subscriptions]

    def start(self) -> None:
        """Begin to consume, in the background."""
        for runner in self._runners:
            runner.start()

    async def stop(self, drain: timedelta) -> None:
        """Cancel at the broker, then wait up to `drain` for running handlers; what is left goes back to its queue."""
        await asyncio.gather(*(runner.stop(drain) for runner in self._runners))

    @property
    def consuming(self) -> bool:
        """Whether every subscription is established right now."""
        return all(runner.consuming for runner in self._runners)

    async def check(self) -> None:
        """Raise UpstreamUnavailable while a subscription is not established (readiness)."""
        if not self.consuming:
            raise UpstreamUnavailable("Not consuming from RabbitMQ yet.")


class _Runner:
    def __init__(self, broker: Broker, subscription: Subscription[Any], watchdog_seconds: float) -> None:
        self._broker = broker
        self._subscription = subscription
        self._watchdog_seconds = watchdog_seconds
        self._task: asyncio.Task[None] | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._channel: AbstractChannel | None = None
        self._queue: AbstractQueue | None = None
        self._tag: str | None = None
        self.consuming = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"consume {self._subscription.queue}")

    async def stop(self, drain: timedelta) -> None:
        self._stopping.set()
        if self._queue is not None and self._tag is not None:
            with suppress(*BROKER_ERRORS):
                await asyncio.wait_for(self._queue.cancel(self._tag), timeout=2)
        if self._handlers:
            _, late = await asyncio.wait(self._handlers, timeout=drain.total_seconds())
            for task in late:
                task.cancel()
            if late:
                logger.warning("consumer.drain_timeout", queue=self._subscription.queue, handlers=len(late))
                await asyncio.wait(late, timeout=2)
        if self._task is not None:
            # again and again: asyncio.wait_for before Python 3.12 swallows a cancellation that races its result
            while not self._task.done():
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=0.5)
        await self._close_channel()

    async def _run(self) -> None:
        pause = 0.2
        while not self._stopping.is_set():
            try:
                await self._consume()
                pause = 0.2
                await self._watch()
                logger.warning("consumer.lost", queue=self._subscription.queue)
            except _BROKER_AWAY as error:
                logger.warning("consumer.waiting", queue=self._subscription.queue, error=type(error).__name__)
            finally:
                self.consuming = False
                await self._close_channel()
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)

    async def _consume(self) -> None:
        subscription = self._subscription
        # a copy that no queue takes must be an error: the original is acknowledged after it
        self._channel = channel = await self._broker.channel(on_return_raises=True)
        self._queue = await asyncio.wait_for(
            declare_subscription(channel, subscription.queue, subscription.event.type, subscription.retry), timeout=10
        )
        await channel.set_qos(prefetch_count=subscription.prefetch)
        # a quorum queue that is still recovering may never answer this one request, but does answer the next
        self._tag = await asyncio.wait_for(self._queue.consume(self._accept), timeout=2)
        self.consuming = True
        logger.info("consumer.started", queue=subscription.queue)

    async def _watch(self) -> None:
        """Return when the channel is lost. The broker itself is asked, since a half-open connection looks alive."""
        assert self._channel is not None
        closed = asyncio.Event()
        self._channel.close_callbacks.add(lambda *_: closed.set())
        while not (closed.is_set() or self._channel.is_closed):
            try:
                await asyncio.wait_for(closed.wait(), timeout=self._watchdog_seconds)
            except TimeoutError:
                queue = await asyncio.wait_for(
                    self._channel.declare_queue(self._subscription.queue, passive=True), timeout=5
                )
                if queue.declaration_result.consumer_count == 0:  # deleted and made anew, or cancelled by the broker
                    return

    async def _close_channel(self) -> None:
        channel, self._channel, self._queue, self._tag = self._channel, None, None, None
        if channel is not None and not channel.is_closed:
            with suppress(*BROKER_ERRORS):
                await asyncio.wait_for(channel.close(), timeout=2)

    async def _accept(self, message: AbstractIncomingMessage) -> None:
        task = asyncio.create_task(self._handle(message))
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        subscription = self._subscription
        given = str(message.headers.get(ATTEMPT_HEADER) or 1)
        attempt = int(given) if given.isdecimal() else 1
        carrier = {key: value for key, value in message.headers.items() if isinstance(value, str)}
        with (
            structlog.contextvars.bound_contextvars(
                request_id=carrier.get("request-id"), event_id=message.message_id, queue=subscription.queue
            ),
            traced(f"{subscription.queue} process", SpanKind.CONSUMER, carrier),
            _in_flight.labels(subscription.queue).track_inprogress(),
            _seconds.labels(subscription.queue).time(),
        ):
            error: Exception | None = None
            try:
                event = parse_event(message.body)
                if not isinstance(event, subscription.event):
                    raise MalformedEvent(f"expected {subscription.event.type}, got {event.type}")
                await subscription.handler(event, Delivery(attempt=attempt, redelivered=bool(message.redelivered)))
            except asyncio.CancelledError:
                with suppress(*BROKER_ERRORS):
                    await message.nack(requeue=True)
                raise
            except Exception as caught:  # noqa: BLE001 - its category decides what becomes of the message
                error = caught
            try:
                outcome = await self._settle(message, attempt, error)
            except BROKER_ERRORS as broken:
                # the connection is gone: the broker gives the message to somebody again, the inbox absorbs the repeat
                logger.warning("message.unsettled", error=type(broken).__name__)
                # or it is not, and only the copy was refused or not confirmed: without this we would keep the message
                with suppress(*BROKER_ERRORS):
                    await message.nack(requeue=True)
                outcome = Outcome.RETRY
            _handled.labels(subscription.queue, outcome.value).inc()

    async def _settle(self, message: AbstractIncomingMessage, attempt: int, error: Exception | None) -> Outcome:
        if error is None:
            await message.ack()
            return Outcome.ACK
        subscription = self._subscription
        outcome = outcome_of(error)
        if outcome is Outcome.RETRY and attempt > len(subscription.retry.steps):
            outcome = Outcome.DEAD_LETTER
        code = error.code if isinstance(error, DocuChatError) else type(error).__name__
        log = logger.bind(outcome=outcome.value, attempt=attempt, error=code)
        if isinstance(error, DocuChatError | MalformedEvent):
            log.warning("message.failed")
        else:
            log.error("message.failed", exc_info=error)
        if outcome is Outcome.RETRY:
            await self._forward(message, subscription.retry.queue_name(subscription.queue, attempt), attempt + 1, code)
        else:
            await self._forward(message, dead_letter_queue(subscription.queue), attempt, code)
        await message.ack()
        return outcome

    async def _forward(self, message: AbstractIncomingMessage, queue: str, attempt: int, code: str) -> None:
        """Put a copy on `queue` and wait for the confirm; only then may the original be acknowledged."""
        if self._channel is None:
            raise ConnectionError("the channel is closed")
        copy = aio_pika.Message(
            message.body,
            headers={**message.headers, ATTEMPT_HEADER: attempt, "x-docuchat-error": code},
            content_type=message.content_type,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=message.message_id,
            type=message.type,
        )
        await self._channel.default_exchange.publish(copy, queue, mandatory=True, timeout=10)


async def replay_dead_letters(url: str, queue: str, *, limit: int = 10_000) -> int:
    """Move up to `limit` dead letters of `queue` back to it, with a fresh ladder; returns how many."""
    moved = 0
    async with Broker.connect(url, name="replay") as broker:
        channel = await broker.channel(on_return_raises=True)
        dlq = await channel.declare_queue(dead_letter_queue(queue), passive=True)
        # what fails again while we replay comes back to this queue: it is left for the next time
        waiting = min(limit, dlq.declaration_result.message_count or 0)
        while moved < waiting and (message := await dlq.get(fail=False, timeout=5)) is not None:
            headers = {
                key: value
                for key, value in message.headers.items()
                if key not in {ATTEMPT_HEADER, "x-docuchat-error", "x-delivery-count"} and not key.startswith("x-death")
            }
            copy = aio_pika.Message(
                message.body,
                headers=headers,
                content_type=message.content_type,
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                message_id=message.message_id,
                type=message.type,
            )
            await channel.default_exchange.publish(copy, queue, mandatory=True, timeout=10)
            await message.ack()
            moved += 1
    return moved
