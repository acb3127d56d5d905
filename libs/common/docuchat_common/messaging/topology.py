"""Exchange, queues and their arguments; holds on RabbitMQ 3.10 and on 4 (no mirrored queues, no global QoS).

Every subscriber has queues of its own:

- ``<service>.<event>``            quorum queue bound to the topic exchange; delivery limit as guard against crash loops
- ``<service>.<event>.retry.<n>``  waits its TTL, then dead-letters back to the queue itself through the default
                                   exchange, so that a retry reaches this subscriber only
- ``<service>.<event>.dlq``        what was given up, kept until replayed
"""

from dataclasses import dataclass
from datetime import timedelta

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractQueue

EXCHANGE = "docuchat.events"
DELIVERY_LIMIT = 20


@dataclass(frozen=True)
class RetryLadder:
    """How long a failed message waits before each further try."""

    steps: tuple[timedelta, ...] = (
        timedelta(seconds=1),
        timedelta(seconds=5),
        timedelta(seconds=30),
        timedelta(minutes=2),
    )

    def queue_name(self, queue: str, attempt: int) -> str:
        """The retry queue for the `attempt`-th retry (from 1)."""
        return f"{queue}.retry.{attempt}"


def dead_letter_queue(queue: str) -> str:
    """Name of the dead-letter queue of `queue`."""
    return f"{queue}.dlq"


def queue_name(service: str, event_type: str) -> str:
    """`<service>.<event type with dashes>`, the queue of one service for one event type."""
    stem, _, version = event_type.rpartition(".")
    return f"{service}.{stem.replace('.', '-')}.{version}"


async def declare_exchange(channel: AbstractChannel) -> AbstractExchange:
    """The topic exchange on which every event is published; its routing keys are the event types."""
    return await channel.declare_exchange(EXCHANGE, ExchangeType.TOPIC, durable=True)


async def declare_subscription(
    channel: AbstractChannel, queue: str, event_type: str, ladder: RetryLadder
) -> AbstractQueue:
    """Declare one subscriber's queues and bind them; idempotent."""
    exchange = await declare_exchange(channel)
    dlq = dead_letter_queue(queue)
    await channel.declare_queue(dlq, durable=True, arguments={"x-queue-type": "quorum"})
    for attempt, wait in enumerate(ladder.steps, start=1):
        await channel.declare_queue(
            ladder.queue_name(queue, attempt),
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-message-ttl": int(wait.total_seconds() * 1000),
                **_dead_letter_to(queue),
            },
        )
    main = await channel.declare_queue(
        queue,
        durable=True,
        arguments={"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT, **_dead_letter_to(dlq)},
    )
    await main.bind(exchange, event_type)
    return main


def _dead_letter_to(queue: str) -> dict[str, str]:
    """Dead-letter into `queue` through the default exchange, at least once (needs reject-publish on overflow)."""
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
