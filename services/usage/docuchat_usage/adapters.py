"""The clock, the metrics and the RabbitMQ stream behind the ports."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import Counter

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import QuotaExceeded, QuotaThreshold, UsageRecorded
from docuchat_common.messaging.broker import BROKER_ERRORS
from docuchat_common.messaging.topology import declare_exchange

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from docuchat_common.messaging.broker import Broker
    from docuchat_common.messaging.consumer import Consumer

logger = structlog.get_logger()

_BROKER_AWAY: Final[tuple[type[BaseException], ...]] = (UpstreamUnavailable, *BROKER_ERRORS)

STREAM: Final = "docuchat.usage.stream"
STREAM_EVENTS: Final = (UsageRecorded.type, QuotaThreshold.type, QuotaExceeded.type)

_holds = Counter("docuchat_holds", "Holds by outcome; a refusal by the layer that refused.", ["outcome", "subject"])
_bookings = Counter("docuchat_usage_bookings", "Usage events booked.", ["kind"])
_tokens = Counter("docuchat_usage_tokens", "Tokens booked.", ["kind", "direction"])
_unpriced = Counter("docuchat_usage_unpriced", "Bookings for which only the fallback price fitted.", ["kind"])


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """The current moment, aware UTC."""
        return datetime.now(UTC)


class PrometheusMeter:
    """Counts on `/metrics`."""

    def held(self, outcome: str, subject: str | None = None) -> None:
        """Count a hold's outcome."""
        _holds.labels(outcome, subject or "").inc()

    def booked(self, kind: str, tokens: Mapping[str, int], *, unpriced: bool) -> None:
        """Count a booking and its tokens."""
        _bookings.labels(kind).inc()
        for direction, count in tokens.items():
            _tokens.labels(kind, direction).inc(count)
        if unpriced:
            _unpriced.labels(kind).inc()


async def declare_usage_stream(broker: Broker, *, max_bytes: int, max_age: str) -> None:
    """Declare the stream from which a new subscriber replays usage and quota events; idempotent."""
    channel = await broker.channel()
    try:
        exchange = await declare_exchange(channel)
        stream = await channel.declare_queue(
            STREAM,
            durable=True,
            arguments={"x-queue-type": "stream", "x-max-length-bytes": max_bytes, "x-max-age": max_age},
        )
        for event_type in STREAM_EVENTS:
            await stream.bind(exchange, event_type)
    finally:
        if not channel.is_closed:
            with suppress(*BROKER_ERRORS):
                await channel.close()


async def keep_usage_stream(broker: Broker, consumer: Consumer, *, max_bytes: int, max_age: str) -> None:
    """Declare the stream once the consumer's queues exist, trying until it is there.

    The order matters: with the stream bound first, a usage event published before our own queue exists would be routed
    to the stream alone and never be booked, instead of waiting in its outbox.
    """
    pause = 0.2
    while True:
        try:
            if consumer.consuming:
                await asyncio.wait_for(declare_usage_stream(broker, max_bytes=max_bytes, max_age=max_age), timeout=15)
                logger.info("usage_stream.declared", stream=STREAM)
                return
        except _BROKER_AWAY as error:
            logger.warning("usage_stream.waiting", error=type(error).__name__)
            pause = min(pause * 2, 5.0)
        await asyncio.sleep(pause)


async def repeat(name: str, every: timedelta, work: Callable[[], Awaitable[object]]) -> None:
    """Do `work` again and again until cancelled; a failure is logged and waited out."""
    while True:
        try:
            await work()
        except UpstreamUnavailable as error:
            logger.warning("work.waiting", work=name, reason=error.detail)
        except Exception:  # a sweep that dies would let holds leak
            logger.exception("work.failed", work=name)
        await asyncio.sleep(every.total_seconds())
