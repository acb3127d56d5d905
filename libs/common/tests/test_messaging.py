"""Consumers on a real broker: retry ladder, dead letters, batches, forged events, an orderly stop."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import aio_pika
import pytest
from structlog.testing import capture_logs

from docuchat_common.background import cancel
from docuchat_common.errors import InvalidInput, UpstreamUnavailable
from docuchat_common.events.catalogue import UsageRecorded
from docuchat_common.messaging.broker import Broker, Publisher, Unroutable
from docuchat_common.messaging.consumer import Consumer
from docuchat_common.messaging.dead_letters import DeadLetterOffice, NoSuchQueue
from docuchat_common.messaging.fates import ATTEMPT_HEADER
from docuchat_common.messaging.subscriptions import BatchSubscription, Delivery, Subscription
from docuchat_common.messaging.topology import EXCHANGE, RetryLadder, dead_letter_queue, login_of
from docuchat_testkit.broker import TestBroker
from docuchat_testkit.eventually import eventually
from docuchat_testkit.messaging import LADDER, QUEUE, Script, consuming, count_messages, usage


async def test_each_fate_of_a_message(rabbitmq: TestBroker) -> None:
    script = Script()
    async with consuming(Subscription(QUEUE, UsageRecorded, script.handle, retry=LADDER), rabbitmq) as broker:
        for model in ("plain", "away twice", "bug once", "never valid", "always away"):
            await broker.publish(usage(model))
        await broker.publish_raw(b"not an event")

        async def ended() -> None:
            assert sorted(script.handled) == ["away twice", "bug once", "plain"]
            assert script.tries == {"plain": 1, "away twice": 3, "bug once": 2, "never valid": 1, "always away": 3}
            assert await broker.dead_letters() == 3

        await eventually(ended)


class TestBatches:
    async def test_a_poisoned_event_is_isolated_and_the_rest_take_effect_once(self, rabbitmq: TestBroker) -> None:
        batches: list[list[str]] = []
        booked: list[str] = []
        all_there = asyncio.Event()

        async def book(events: Sequence[UsageRecorded]) -> None:
            await all_there.wait()
            models = [event.model for event in events]
            batches.append(models)
            if "poison" in models:
                raise InvalidInput
            booked.extend(models)

        subscription = BatchSubscription(QUEUE, UsageRecorded, book, batch=4, prefetch=16, retry=LADDER)
        async with consuming(subscription, rabbitmq) as broker:
            wanted = [f"m{number}" for number in range(20)]
            models = [*wanted[:7], "poison", *wanted[7:]]
            await broker.publish_raw(b"not an event")
            await asyncio.gather(*(broker.publish(usage(model)) for model in models))
            all_there.set()

            async def ended() -> None:
                assert sorted(booked) == sorted(wanted)
                assert await broker.dead_letters() == 2
                assert await broker.left() == 0

            await eventually(ended)
        assert max(map(len, batches)) == 4
        assert ["poison"] in batches

    async def test_what_is_away_is_not_asked_again_for_each_event(self, rabbitmq: TestBroker) -> None:
        calls: list[int] = []
        away = True

        async def book(events: Sequence[UsageRecorded]) -> None:
            calls.append(len(events))
            if away:
                raise UpstreamUnavailable

        ladder = RetryLadder((timedelta(milliseconds=300),))
        subscription = BatchSubscription(QUEUE, UsageRecorded, book, batch=8, prefetch=8, retry=ladder)
        async with consuming(subscription, rabbitmq):
            pass  # declares the queue
        events = [usage(f"m{number}") for number in range(8)]
        async with Broker.connect(rabbitmq.url("chat"), name="chat") as chat:
            for event in events:
                await Publisher(chat).publish(
                    event.to_cloudevent("chat"), routing_key=event.type, message_id=event.id, headers={}
                )
        async with consuming(subscription, rabbitmq) as broker:
            await eventually(lambda: len(calls) >= 2)
            tried = len(calls)
            away = False

            async def booked() -> None:
                assert sum(calls[tried:]) == len(events)
                assert await broker.left() == 0

            await eventually(booked)
        assert tried < len(events)


class TestForgedEvents:
    async def test_an_event_of_a_login_that_may_not_publish_its_source_is_a_dead_letter(
        self, rabbitmq: TestBroker
    ) -> None:
        script = Script()
        async with consuming(Subscription(QUEUE, UsageRecorded, script.handle, retry=LADDER), rabbitmq) as broker:
            ingest = await aio_pika.connect(rabbitmq.url("ingest"))
            async with ingest:
                exchange = await (await ingest.channel()).get_exchange(EXCHANGE, ensure=False)
                # what ingest may publish, under chat's name, as if it were a retry, and with no login at all
                for user_id, headers in ((login_of("ingest"), {ATTEMPT_HEADER: 2}), (None, {})):
                    forged = aio_pika.Message(usage("forged").to_cloudevent("chat"), user_id=user_id, headers=headers)
                    await exchange.publish(forged, UsageRecorded.type, mandatory=True)
                own = aio_pika.Message(usage("plain").to_cloudevent("ingest"), user_id=login_of("ingest"))
                await exchange.publish(own, UsageRecorded.type, mandatory=True)

            async def ended() -> None:
                assert script.handled == ["plain"]
                assert await broker.dead_letters() == 2

            await eventually(ended)
            (found,) = await DeadLetterOffice(broker.usage, "usage").list()
            assert (found.reason, found.count) == ("event_forged", 2)

    async def test_the_broker_refuses_a_login_that_names_another(self, rabbitmq: TestBroker) -> None:
        rabbitmq.declare("usage")
        async with await aio_pika.connect(rabbitmq.url("ingest")) as ingest:
            exchange = await (await ingest.channel()).get_exchange(EXCHANGE, ensure=False)
            forged = aio_pika.Message(usage("forged").to_cloudevent("chat"), user_id=login_of("chat"))
            with pytest.raises(aio_pika.exceptions.AMQPError, match="user_id"):
                await exchange.publish(forged, UsageRecorded.type, mandatory=True)


class TestDeadLetters:
    async def test_are_replayed_with_a_fresh_ladder(self, rabbitmq: TestBroker) -> None:
        script = Script()
        healed = False

        async def handle(event: UsageRecorded, delivery: Delivery) -> None:
            if not healed:
                raise UpstreamUnavailable if delivery.attempt == 1 else InvalidInput
            await script.handle(event, delivery)  # which counts from the first attempt

        async with consuming(Subscription(QUEUE, UsageRecorded, handle, retry=LADDER), rabbitmq) as broker:
            office = DeadLetterOffice(broker.usage, "usage")
            for number in range(3):
                await broker.publish(usage(f"m{number}"))

            async def dead(count: int = 3) -> None:
                assert await broker.dead_letters() == count

            await eventually(dead)
            assert await office.replay(QUEUE, limit=1) == 1
            await eventually(dead)  # it failed again, and replay did not run in circles
            healed = True
            assert await office.replay() == 3
            await eventually(lambda: sorted(script.handled) == ["m0", "m1", "m2"])

    async def test_are_listed_by_type_and_reason_without_being_taken_or_worn_out(self, rabbitmq: TestBroker) -> None:
        async def handle(event: UsageRecorded, _: Delivery) -> None:
            raise InvalidInput

        async with consuming(Subscription(QUEUE, UsageRecorded, handle, retry=LADDER), rabbitmq) as broker:
            office = DeadLetterOffice(broker.usage, "usage")
            events = [usage("secret words"), usage("secret words")]
            for event in events:
                await broker.publish(event)
            await broker.publish_raw(b"not an event")

            async def dead() -> None:
                assert await broker.dead_letters() == 3

            await eventually(dead)
            for _ in range(25):  # more often than RabbitMQ 4 would give a message back by itself
                found = await office.list()
            assert [(one.queue, one.type, one.reason, one.count) for one in found] == [
                (QUEUE, UsageRecorded.type, "MalformedEvent", 1),
                (QUEUE, UsageRecorded.type, "invalid_input", 2),
            ]
            assert sorted(found[1].ids) == sorted(one.id for one in events)
            assert all(timedelta() <= one.oldest < timedelta(minutes=1) for one in found)
            assert "secret" not in repr(found)
            await eventually(dead)
            with pytest.raises(NoSuchQueue):
                await office.replay("ingest.document-uploaded.v1")
            with pytest.raises(NoSuchQueue):
                await office.discard("ingest.document-uploaded.v1")
            assert await office.discard(QUEUE) == 3
            assert await office.list() == []

    async def test_of_a_queue_that_is_gone_wait_on_its_ladder(self, rabbitmq: TestBroker) -> None:
        async def handle(event: UsageRecorded, _: Delivery) -> None:
            raise InvalidInput

        ladder = RetryLadder((timedelta(hours=1),))
        async with consuming(Subscription(QUEUE, UsageRecorded, handle, retry=ladder), rabbitmq) as broker:
            await broker.publish(usage("dead"))

            async def dead() -> None:
                assert await broker.dead_letters() == 1

            await eventually(dead)
        async with (
            Broker.connect(rabbitmq.admin_url, name="admin") as admin,
            Broker.connect(rabbitmq.url("usage"), name="usage") as own,
        ):
            await (await admin.channel()).queue_delete(QUEUE)
            assert await DeadLetterOffice(own, "usage").replay() == 1
            places = [dead_letter_queue(QUEUE), ladder.queue_name(QUEUE, 1)]

            async def waits() -> None:
                assert [await count_messages(admin, place) for place in places] == [0, 1]

            await eventually(waits)


async def test_a_publish_is_unroutable_only_where_a_service_of_ours_must_get_it(rabbitmq: TestBroker) -> None:
    rabbitmq.declare("auth")
    async with Broker.connect(rabbitmq.url("chat"), name="chat") as chat:
        publisher = Publisher(chat)
        event = usage("x")
        with pytest.raises(Unroutable):
            await publisher.publish(
                event.to_cloudevent("chat"), routing_key=event.type, message_id=event.id, headers={}
            )
        await publisher.publish(b"{}", routing_key="chat.message.completed.v1", message_id=event.id, headers={})


async def test_a_consumer_whose_queue_is_not_declared_says_so_and_waits_for_it(rabbitmq: TestBroker) -> None:
    script = Script()
    async with Broker.connect(rabbitmq.url("usage"), name="usage") as broker:
        consumer = Consumer(broker, [Subscription(QUEUE, UsageRecorded, script.handle)])
        with capture_logs() as logs:
            consumer.start()

            def said() -> None:
                (line, *_) = [line for line in logs if line["event"] == "background.waiting"]
                assert line["task"] == f"consume {QUEUE}"
                assert "docuchat_setup topology" in line["reason"]

            await eventually(said)
        with pytest.raises(UpstreamUnavailable):
            await consumer.check()
        await asyncio.to_thread(rabbitmq.declare, "usage")
        await eventually(consumer.check)
        await consumer.stop(timedelta(seconds=5))


@pytest.mark.parametrize(
    "trouble", [KeyError("a bug"), asyncio.CancelledError()], ids=lambda error: type(error).__name__
)
async def test_a_consumer_goes_on_after_whatever_ended_it(
    rabbitmq: TestBroker, monkeypatch: pytest.MonkeyPatch, trouble: BaseException
) -> None:
    rabbitmq.declare("usage")
    async with Broker.connect(rabbitmq.url("usage"), name="usage") as broker:
        opened = broker.channel
        troubles = [trouble]

        async def channel(**options: Any) -> Any:
            if troubles:
                raise troubles.pop()
            return await opened(**options)

        monkeypatch.setattr(broker, "channel", channel)
        consumer = Consumer(broker, [Subscription(QUEUE, UsageRecorded, Script().handle)])
        consumer.start()
        await eventually(consumer.check)
        assert troubles == []
        await consumer.stop(timedelta(seconds=5))


async def test_a_nonsensical_attempt_header_counts_as_the_first_attempt(rabbitmq: TestBroker) -> None:
    script = Script()
    async with consuming(Subscription(QUEUE, UsageRecorded, script.handle, retry=LADDER), rabbitmq) as broker:
        event = usage("plain")
        await broker.publisher.publish(
            event.to_cloudevent("chat"),
            routing_key=event.type,
            message_id=event.id,
            headers={ATTEMPT_HEADER: "soon"},
        )
        await eventually(lambda: script.handled == ["plain"])


async def test_stopping_waits_for_the_running_handler_and_leaves_the_rest_untouched(rabbitmq: TestBroker) -> None:
    begun, release = asyncio.Event(), asyncio.Event()
    handled: list[str] = []

    async def handle(event: UsageRecorded, _: Delivery) -> None:
        begun.set()
        await release.wait()
        handled.append(event.model)

    rabbitmq.declare("usage")
    async with (
        Broker.connect(rabbitmq.url("usage"), name="usage") as broker,
        Broker.connect(rabbitmq.url("chat"), name="chat") as chat,
    ):
        consumer = Consumer(broker, [Subscription(QUEUE, UsageRecorded, handle, prefetch=1)])
        consumer.start()
        await eventually(consumer.check)
        for number in range(3):
            event = usage(f"m{number}")
            await Publisher(chat).publish(
                event.to_cloudevent("chat"), routing_key=event.type, message_id=event.id, headers={}
            )
        await begun.wait()
        stopping = asyncio.create_task(consumer.stop(timedelta(seconds=10)))
        await asyncio.sleep(0.2)
        release.set()
        await stopping
        assert handled == ["m0"]
        assert await count_messages(broker, QUEUE) == 2


def test_a_cloud_event_names_the_service_that_publishes_it() -> None:
    assert json.loads(usage("x").to_cloudevent("ingest"))["source"] == "/docuchat/ingest-worker"
    assert json.loads(usage("x").to_cloudevent("chat"))["source"] == "/docuchat/chat"


async def test_a_broker_that_forgot_everything_is_not_told_as_well(rabbitmq: TestBroker) -> None:
    rabbitmq.declare("usage")
    async with Broker.connect(rabbitmq.url("usage"), name="usage") as broker:
        await broker.check()
        async with await aio_pika.connect(rabbitmq.admin_url) as admin:
            await (await admin.channel()).exchange_delete(EXCHANGE)
        with pytest.raises(UpstreamUnavailable, match="docuchat_setup topology"):
            await broker.check()


async def test_a_connection_whose_opening_is_cancelled_at_its_end_is_closed(rabbitmq: TestBroker) -> None:
    before = asyncio.all_tasks()
    async with Broker.connect(rabbitmq.url("usage"), name="test") as broker:
        connecting = asyncio.create_task(broker.connection())

        def handshake_is_over() -> bool:
            return any("__reader" in repr(task.get_coro()) for task in asyncio.all_tasks())  # aiormq's

        await eventually(handshake_is_over, interval=0)
        await cancel(connecting)
    await eventually(lambda: asyncio.all_tasks() == before)
