"""How one subscription is kept going, and how its messages are handed over, singly or in batches."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import ChannelNotFoundEntity
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Gauge, Histogram

from docuchat_common.errors import Forbidden, UpstreamUnavailable
from docuchat_common.events.catalogue import event_in
from docuchat_common.events.envelope import Event, MalformedEvent, open_envelope, source_of
from docuchat_common.messaging.broker import BROKER_ERRORS, SETUP_HINT, Broker
from docuchat_common.messaging.fates import Fates, Outcome, attempt_of
from docuchat_common.messaging.subscriptions import AnySubscription, BatchSubscription, Delivery, Subscription
from docuchat_common.messaging.topology import dead_letter_queue, login_of
from docuchat_common.telemetry import traced

logger = structlog.get_logger()

_handled = Counter("docuchat_messages_handled", "Messages by queue and outcome.", ["queue", "outcome"])
_seconds = Histogram("docuchat_message_seconds", "Time in the handler.", ["queue"])
_waiting = Gauge("docuchat_queue_messages", "Messages that wait in a queue.", ["queue"])
_dead = Gauge("docuchat_dead_letters", "Messages that were given up, by the queue they came from.", ["queue"])
_in_flight = Gauge("docuchat_messages_in_flight", "Messages being handled.", ["queue"])


class ForgedEvent(Forbidden):
    """An event came from a login that may not publish what it says."""

    code = "event_forged"


class Runner(ABC):
    """Consumes one queue, whatever happens to the connection; what a message's arrival means is the subclass's."""

    def __init__(self, broker: Broker, subscription: AnySubscription, watchdog_seconds: float) -> None:
        self._broker = broker
        self._subscription = subscription
        self._watchdog_seconds = watchdog_seconds
        self._handlers: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._channel: AbstractChannel | None = None
        self._queue: AbstractQueue | None = None
        self._tag: str | None = None
        self.consuming = False

    @property
    def name(self) -> str:
        return f"consume {self._subscription.queue}"

    async def drain(self, drain: timedelta) -> None:
        """Take nothing more, and wait up to `drain` for what is being handled."""
        self._stopping = True
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

    async def run(self) -> None:
        """Consume until drained; UpstreamUnavailable says why that is not possible, or no more."""
        try:
            await self._consume()
            await self._watch()
        except ChannelNotFoundEntity as error:
            raise UpstreamUnavailable(f"The queue is not declared; {SETUP_HINT}.") from error
        except BROKER_ERRORS as error:
            raise UpstreamUnavailable(f"RabbitMQ does not answer ({type(error).__name__}).") from error
        finally:
            self.consuming = False
            await self._close_channel()
        if not self._stopping:
            raise UpstreamUnavailable("RabbitMQ took the queue or the channel away.")

    async def _consume(self) -> None:
        subscription = self._subscription
        # a copy that no queue takes must be an error: the original is acknowledged after it
        self._channel = channel = await self._broker.channel(on_return_raises=True)
        self._queue = await asyncio.wait_for(self._measure(channel), timeout=10)
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
                queue = await asyncio.wait_for(self._measure(self._channel), timeout=5)
                if queue.declaration_result.consumer_count == 0:  # deleted and made anew, or cancelled by the broker
                    return

    async def _measure(self, channel: AbstractChannel) -> AbstractQueue:
        """The queue, freshly looked at; how much waits in it and in its dead-letter queue goes to the metrics."""
        name = self._subscription.queue
        for queue, gauge in ((dead_letter_queue(name), _dead), (name, _waiting)):
            found = await channel.declare_queue(queue, passive=True)
            gauge.labels(name).set(found.declaration_result.message_count or 0)
        return found

    async def _close_channel(self) -> None:
        channel, self._channel, self._queue, self._tag = self._channel, None, None, None
        if channel is not None and not channel.is_closed:
            with suppress(*BROKER_ERRORS):
                await asyncio.wait_for(channel.close(), timeout=2)

    @abstractmethod
    async def _accept(self, message: AbstractIncomingMessage) -> None:
        """Take a delivered message; called in the order of delivery."""

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)

    def _read(self, message: AbstractIncomingMessage) -> Event:
        """The event in the message; MalformedEvent or ForgedEvent when it is none of this subscription."""
        envelope = open_envelope(message.body)
        wanted: type[Event] = self._subscription.event
        if envelope.type != wanted.type:
            raise MalformedEvent(f"expected {wanted.type}, got {envelope.type[:100]!r}")
        # the broker vouches for the login: a copy that we put on our own ladder was checked when it first came
        publishers = {login_of(service) for service in wanted.published_by if source_of(service) == envelope.source}
        if message.user_id not in publishers | {self._broker.login}:
            logger.warning("message.forged", login=message.user_id, source=envelope.source[:100])
            raise ForgedEvent
        return event_in(envelope)

    async def _settle_failed(self, message: AbstractIncomingMessage, error: Exception) -> None:
        queue = self._subscription.queue
        try:
            if self._channel is None:
                raise ConnectionError("the channel is closed")
            outcome = await self._fates(self._channel).settle_failed(message, error)
        except BROKER_ERRORS as broken:
            # the connection is gone: the broker gives the message to somebody again, the inbox absorbs the repeat
            logger.warning("message.unsettled", error=type(broken).__name__)
            # or it is not, and only the copy was refused or not confirmed: without this we would keep the message
            await _give_back([message])
            outcome = Outcome.RETRY
        _handled.labels(queue, outcome.value).inc()

    def _fates(self, channel: AbstractChannel) -> Fates:
        return Fates(channel, self._subscription.queue, self._subscription.retry, self._broker.login)

    async def _settle_done(self, messages: Sequence[AbstractIncomingMessage]) -> None:
        """Acknowledge `messages`, which are all that is unsettled up to the last of them when they are several."""
        try:
            await messages[-1].ack(multiple=len(messages) > 1)
        except BROKER_ERRORS as broken:
            logger.warning("message.unsettled", error=type(broken).__name__)
        _handled.labels(self._subscription.queue, Outcome.ACK.value).inc(len(messages))


class SingleRunner(Runner):
    """A task for each message; the prefetch bounds how many there are."""

    _subscription: Subscription[Any]

    async def _accept(self, message: AbstractIncomingMessage) -> None:
        self._begin(self._handle(message))

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        subscription = self._subscription
        carrier = {key: value for key, value in message.headers.items() if isinstance(value, str)}
        with (
            structlog.contextvars.bound_contextvars(
                request_id=carrier.get("request-id"), event_id=message.message_id, queue=subscription.queue
            ),
            traced(f"{subscription.queue} process", SpanKind.CONSUMER, carrier),
            _in_flight.labels(subscription.queue).track_inprogress(),
            _seconds.labels(subscription.queue).time(),
        ):
            try:
                delivery = Delivery(attempt=attempt_of(message), redelivered=bool(message.redelivered))
                await subscription.handler(self._read(message), delivery)
            except asyncio.CancelledError:
                await _give_back([message])
                raise
            except Exception as error:  # noqa: BLE001 - its category decides what becomes of the message
                await self._settle_failed(message, error)
            else:
                await self._settle_done([message])


class BatchRunner(Runner):
    """One batch after the other, each of what arrived while the one before was handled."""

    _subscription: BatchSubscription[Any]

    def __init__(self, broker: Broker, subscription: BatchSubscription[Any], watchdog_seconds: float) -> None:
        super().__init__(broker, subscription, watchdog_seconds)
        self._arrived: deque[AbstractIncomingMessage] = deque()
        self._working = False

    async def _accept(self, message: AbstractIncomingMessage) -> None:
        self._arrived.append(message)
        if not self._working:
            self._working = True
            self._begin(self._work())

    async def _close_channel(self) -> None:
        self._arrived.clear()  # the broker gives them to somebody again
        await super()._close_channel()

    async def _work(self) -> None:
        try:
            while self._arrived:
                count = min(len(self._arrived), self._subscription.batch)
                await self._handle([self._arrived.popleft() for _ in range(count)])
        finally:
            self._working = False

    async def _handle(self, messages: list[AbstractIncomingMessage]) -> None:
        subscription = self._subscription
        unsettled = list(messages)
        with (
            structlog.contextvars.bound_contextvars(queue=subscription.queue),
            traced(f"{subscription.queue} process", SpanKind.CONSUMER, {}),
            _seconds.labels(subscription.queue).time(),
        ):
            _in_flight.labels(subscription.queue).inc(len(messages))
            try:
                readable: list[tuple[AbstractIncomingMessage, Event]] = []
                for message in messages:
                    try:
                        readable.append((message, self._read(message)))
                    except (MalformedEvent, ForgedEvent) as error:
                        unsettled.remove(message)
                        await self._settle_failed(message, error)
                if len(readable) > 1 and await self._succeeds([event for _, event in readable]):
                    await self._settle_done([message for message, _ in readable])
                    return
                away: UpstreamUnavailable | None = None
                for message, event in readable:
                    unsettled.remove(message)
                    with structlog.contextvars.bound_contextvars(event_id=message.message_id):
                        away = await self._handle_alone(message, event, away)
            except asyncio.CancelledError:
                await _give_back(unsettled)
                raise
            finally:
                _in_flight.labels(subscription.queue).dec(len(messages))

    async def _succeeds(self, events: list[Event]) -> bool:
        try:
            await self._subscription.handler(events)
        except Exception as error:  # noqa: BLE001 - each is tried alone, and then its own error decides
            logger.info("batch.split", events=len(events), error=type(error).__name__)
            return False
        return True

    async def _handle_alone(
        self, message: AbstractIncomingMessage, event: Event, away: UpstreamUnavailable | None
    ) -> UpstreamUnavailable | None:
        """Handle one of a failed batch; where one found that something is away, the rest do not wait for it too."""
        try:
            if away is not None:
                raise away
            await self._subscription.handler([event])
        except asyncio.CancelledError:
            await _give_back([message])
            raise
        except Exception as error:  # noqa: BLE001 - its category decides what becomes of the message
            await self._settle_failed(message, error)
            return error if isinstance(error, UpstreamUnavailable) else None
        await self._settle_done([message])
        return None


async def _give_back(messages: Sequence[AbstractIncomingMessage]) -> None:
    with suppress(*BROKER_ERRORS):
        for message in messages:
            await message.nack(requeue=True)
