"""Consumers: acknowledge after the effect is committed, retry on a ladder of delays, dead-letter what cannot succeed.

Shutdown cancels the consumer first and waits for its handlers afterwards, so that messages nobody began stay at
delivery count 0 (order of procrastinate's worker shutdown).
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import aio_pika

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.messaging.broker import Broker
from docuchat_common.messaging.fates import ATTEMPT_HEADER, REASON_HEADER
from docuchat_common.messaging.runners import BatchRunner, Runner, SingleRunner
from docuchat_common.messaging.subscriptions import AnySubscription, BatchSubscription
from docuchat_common.messaging.topology import dead_letter_queue


class Consumer:
    """Runs the subscriptions of one process; survives the broker going away."""

    def __init__(
        self,
        broker: Broker,
        subscriptions: Sequence[AnySubscription],
        *,
        watchdog_seconds: float = 15.0,
    ) -> None:
        self._broker = broker
        self._runners: list[Runner] = [
            BatchRunner(broker, subscription, watchdog_seconds)
            if isinstance(subscription, BatchSubscription)
            else SingleRunner(broker, subscription, watchdog_seconds)
            for subscription in subscriptions
        ]

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
                if key not in {ATTEMPT_HEADER, REASON_HEADER, "x-delivery-count"} and not key.startswith("x-death")
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
