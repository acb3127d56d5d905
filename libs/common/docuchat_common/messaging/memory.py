"""The in-memory twin of the broker, for unit tests. One contract test runs against this and against RabbitMQ."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from docuchat_common.events.catalogue import parse_event
from docuchat_common.events.envelope import Event, MalformedEvent
from docuchat_common.messaging.consumer import Delivery, Outcome, Subscription, outcome_of


@dataclass
class InMemoryBroker:
    """Delivers each published event to every matching subscription; retries follow at once, without their delay."""

    subscriptions: list[Subscription[Any]] = field(default_factory=list)
    dead_letters: dict[str, list[bytes]] = field(default_factory=dict)
    _queues: dict[str, deque[tuple[bytes, int]]] = field(default_factory=dict)

    def subscribe(self, subscription: Subscription[Any]) -> None:
        """Add a subscriber with a queue of its own."""
        self.subscriptions.append(subscription)
        self._queues[subscription.queue] = deque()

    def publish(self, event: Event) -> None:
        """Queue `event` for every subscriber of its type."""
        self.publish_raw(event.to_cloudevent(), event.type)

    def publish_raw(self, body: bytes, routing_key: str) -> None:
        """Queue a body as it is, whatever it holds."""
        for subscription in self.subscriptions:
            if subscription.event.type == routing_key:
                self._queues[subscription.queue].append((body, 1))

    async def deliver(self) -> None:
        """Handle until every queue is empty."""
        for subscription in self.subscriptions:
            queue = self._queues[subscription.queue]
            while queue:
                body, attempt = queue.popleft()
                await self._deliver_one(subscription, body, attempt)

    async def _deliver_one(self, subscription: Subscription[Any], body: bytes, attempt: int) -> None:
        try:
            event = parse_event(body)
            if not isinstance(event, subscription.event):
                raise MalformedEvent(f"expected {subscription.event.type}, got {event.type}")
            await subscription.handler(event, Delivery(attempt=attempt, redelivered=False))
        except Exception as error:  # noqa: BLE001 - as the real consumer does
            if outcome_of(error) is Outcome.RETRY and attempt <= len(subscription.retry.steps):
                self._queues[subscription.queue].append((body, attempt + 1))
            else:
                self.dead_letters.setdefault(subscription.queue, []).append(body)
