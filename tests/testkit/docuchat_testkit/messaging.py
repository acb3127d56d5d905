"""What the tests of messaging share: an event, a handler that fails as told, a broker with short ladders."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

from docuchat_common.errors import InvalidInput, UpstreamUnavailable
from docuchat_common.events.catalogue import UsageRecorded
from docuchat_common.events.envelope import Event
from docuchat_common.messaging.broker import Broker, Publisher
from docuchat_common.messaging.consumer import Consumer
from docuchat_common.messaging.subscriptions import AnySubscription, Delivery
from docuchat_common.messaging.topology import RetryLadder, dead_letter_queue, queue_name, queues_of
from docuchat_testkit.broker import TestBroker
from docuchat_testkit.event_watch import check_event
from docuchat_testkit.eventually import eventually

QUEUE = queue_name("usage", UsageRecorded.type)
LADDER = RetryLadder((timedelta(milliseconds=100), timedelta(milliseconds=200)))


def usage(model: str) -> UsageRecorded:
    return UsageRecorded(
        tenant_id=1, kind="chat", provider="stub", model=model, input_tokens=1, output_tokens=1, estimated=False
    )


@dataclass
class Script:
    """A handler that fails as the event's model says."""

    handled: list[str] = field(default_factory=list)
    tries: dict[str, int] = field(default_factory=dict)

    async def handle(self, event: UsageRecorded, delivery: Delivery) -> None:
        tries = self.tries[event.model] = self.tries.get(event.model, 0) + 1
        assert delivery.attempt == tries
        if event.model == "never valid":
            raise InvalidInput
        if event.model == "always away" or (event.model == "away twice" and tries <= 2):
            raise UpstreamUnavailable
        if event.model == "bug once" and tries == 1:
            raise ValueError("a bug")
        self.handled.append(event.model)


@dataclass
class Running:
    """A consumer of the usage service, and chat, which publishes."""

    usage: Broker
    chat: Broker
    publisher: Publisher

    async def publish(self, event: Event) -> None:
        body = event.to_cloudevent("chat")
        check_event(body)
        await self.publisher.publish(body, routing_key=event.type, message_id=event.id, headers={})

    async def publish_raw(self, body: bytes) -> None:
        await self.publisher.publish(body, routing_key=UsageRecorded.type, message_id=usage("x").id, headers={})

    async def dead_letters(self) -> int:
        return await count_messages(self.usage, dead_letter_queue(QUEUE))

    async def left(self) -> int:
        return await count_messages(self.usage, QUEUE)


@asynccontextmanager
async def consuming(subscription: AnySubscription, rabbitmq: TestBroker) -> AsyncIterator[Running]:
    await rabbitmq.declare_queues(replace(queue, retry=subscription.retry) for queue in queues_of("usage"))
    async with (
        Broker.connect(rabbitmq.url("usage"), name="usage") as own,
        Broker.connect(rabbitmq.url("chat"), name="chat") as chat,
    ):
        consumer = Consumer(own, [subscription])
        consumer.start()
        await eventually(consumer.check)
        try:
            yield Running(own, chat, Publisher(chat))
        finally:
            await consumer.stop(timedelta(seconds=5))


async def count_messages(broker: Broker, queue: str) -> int:
    channel = await broker.channel()
    declared = await channel.declare_queue(queue, passive=True)
    await channel.close()
    return declared.declaration_result.message_count or 0


class Others:
    """The other services of the product, as far as they publish."""

    def __init__(self, rabbitmq: TestBroker, stack: AsyncExitStack) -> None:
        self._rabbitmq = rabbitmq
        self._stack = stack
        self._publishers: dict[str, Publisher] = {}

    async def publish(self, event: Event) -> None:
        """Publish as the first service that may; returns when a queue has it."""
        service = event.published_by[0]
        if service not in self._publishers:
            broker = await self._stack.enter_async_context(Broker.connect(self._rabbitmq.url(service), name=service))
            self._publishers[service] = Publisher(broker)
        body = event.to_cloudevent(service)
        check_event(body)
        await self._publishers[service].publish(body, routing_key=event.type, message_id=event.id, headers={})


@asynccontextmanager
async def others(rabbitmq: TestBroker) -> AsyncIterator[Others]:
    """The other services, whose connections end with the block."""
    async with AsyncExitStack() as stack:
        yield Others(rabbitmq, stack)
