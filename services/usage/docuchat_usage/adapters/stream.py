"""The RabbitMQ stream of usage and quota events."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import QuotaExceeded, QuotaThreshold, UsageRecorded
from docuchat_common.messaging.broker import BROKER_ERRORS, Broker
from docuchat_common.messaging.consumer import Consumer
from docuchat_common.messaging.topology import declare_exchange

logger = structlog.get_logger()

_BROKER_AWAY: Final[tuple[type[BaseException], ...]] = (UpstreamUnavailable, *BROKER_ERRORS)

STREAM: Final = "docuchat.usage.stream"
STREAM_EVENTS: Final = (UsageRecorded.type, QuotaThreshold.type, QuotaExceeded.type)


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
