"""Consumers: acknowledge after the effect is committed, retry on a ladder of delays, dead-letter what cannot succeed.

Shutdown cancels the consumer first and waits for its handlers afterwards, so that messages nobody began stay at
delivery count 0 (order of procrastinate's worker shutdown).
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from docuchat_common.background import Background
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.messaging.broker import Broker
from docuchat_common.messaging.runners import BatchRunner, Runner, SingleRunner
from docuchat_common.messaging.subscriptions import AnySubscription, BatchSubscription


class Consumer:
    """Runs the subscriptions of one process; survives the broker going away."""

    def __init__(
        self,
        broker: Broker,
        subscriptions: Sequence[AnySubscription],
        *,
        watchdog_seconds: float = 15.0,
    ) -> None:
        self._background = Background()
        self._runners: list[Runner] = [
            BatchRunner(broker, subscription, watchdog_seconds)
            if isinstance(subscription, BatchSubscription)
            else SingleRunner(broker, subscription, watchdog_seconds)
            for subscription in subscriptions
        ]

    def start(self) -> None:
        """Begin to consume, in the background."""
        for runner in self._runners:
            self._background.start(runner.name, runner.run)

    async def stop(self, drain: timedelta) -> None:
        """Cancel at the broker, then wait up to `drain` for running handlers; what is left goes back to its queue."""
        await asyncio.gather(*(self._stop(runner, drain) for runner in self._runners))

    async def _stop(self, runner: Runner, drain: timedelta) -> None:
        await runner.drain(drain)
        await self._background.stop(runner.name)

    @property
    def consuming(self) -> bool:
        """Whether every subscription is established right now."""
        return all(runner.consuming for runner in self._runners)

    async def check(self) -> None:
        """Raise UpstreamUnavailable while a subscription is not established (readiness)."""
        if not self.consuming:
            raise UpstreamUnavailable("Not consuming from RabbitMQ yet.")
