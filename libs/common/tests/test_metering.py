"""Every call of a provider is booked exactly once, whatever is lost, repeated or killed."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import UsageAnomaly, UsageRecorded
from docuchat_common.ids import TenantId
from docuchat_common.metering import (
    Metering,
    ProviderCallClosed,
    TokenBounds,
    Used,
    bounded,
    call_id_of,
    event_id_of,
    used_of,
)

from .metered import ONE, Books, a_call, everybody_lives, nobody_lives


async def test_a_call_is_booked_with_the_providers_figure_and_for_whom_it_was_made(
    books: Books, metering: Metering
) -> None:
    call = a_call()
    async with metering.call(call) as made:
        assert await books.states() == ["started"]
        assert await books.events() == []
        made.used(Used(117))
    [event] = await books.recorded()
    assert event.id == event_id_of(call.id)
    assert (event.tenant_id, event.input_tokens, event.output_tokens, event.estimated) == (1, 117, 0, False)
    assert (event.provider, event.model, event.kind) == ("api.example.com", "embedder", "embedding")
    assert (event.user_id, event.hold_id) == (call.subjects[0][1], call.hold_id)
    assert event.document_id == call.document_id


async def test_a_call_whose_answer_never_came_is_booked_as_expected_and_estimated(
    books: Books, metering: Metering
) -> None:
    with pytest.raises(RuntimeError, match="broke off"):
        async with metering.call(a_call()):
            raise RuntimeError("broke off")
    [event] = await books.recorded()
    assert (event.input_tokens, event.estimated) == (120, True)


async def test_a_cancelled_call_is_booked_before_the_cancellation_goes_on(books: Books, metering: Metering) -> None:
    sent = asyncio.Event()

    async def ask() -> None:
        async with metering.call(a_call()):
            sent.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(ask())
    await sent.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # again, while it settles
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [event.estimated for event in await books.recorded()] == [True]


async def test_what_never_left_or_was_refused_costs_nothing(books: Books, metering: Metering) -> None:
    async with metering.call(a_call()) as made:
        made.void()
    assert await books.states() == ["void"]
    assert await books.events() == []


async def test_a_declaration_whose_commit_was_lost_is_repeated_and_booked_once(
    books: Books, metering: Metering
) -> None:
    books.lose_commits = 1
    async with metering.call(a_call()) as made:
        made.used(Used(5))
    assert await books.states() == ["settled"]
    assert len(await books.recorded()) == 1


async def test_a_call_that_cannot_be_declared_is_not_made_and_never_booked(books: Books, metering: Metering) -> None:
    books.lose_commits = 2
    with pytest.raises(UpstreamUnavailable):
        async with metering.call(a_call()):
            pytest.fail("must not be called")
    assert await books.states() == ["started"]  # it stands there after all
    await metering.settle_late()
    assert await books.states() == ["void"]
    assert await metering.take_over(nobody_lives) == 0
    assert await books.events() == []


async def test_a_settlement_that_the_database_did_not_take_is_made_later_with_the_providers_figure(
    books: Books, metering: Metering
) -> None:
    async with metering.call(a_call()) as made:
        made.used(Used(77))
        books.refuse = 2
    assert await books.states() == ["started"]
    await metering.settle_late()
    assert await books.recorded() == []
    await metering.settle_late()
    await metering.settle_late()
    assert [(event.input_tokens, event.estimated) for event in await books.recorded()] == [(77, False)]


async def test_a_settlement_whose_commit_was_lost_is_booked_once(books: Books, metering: Metering) -> None:
    async with metering.call(a_call()) as made:
        made.used(Used(77))
        books.lose_commits = 1
    await metering.settle_late()
    assert [event.input_tokens for event in await books.recorded()] == [77]


async def test_two_who_settle_at_once_book_one_entry(books: Books) -> None:
    call = a_call()
    async with books(ONE) as tx:
        await tx.calls.declare(call)
    second_waits = asyncio.Event()

    async def second() -> bool:
        async with books(ONE) as tx:
            second_waits.set()
            return await tx.calls.settle(call.id, Used(2))

    async with books(ONE) as tx:
        first = await tx.calls.settle(call.id, Used(1))
        other = asyncio.create_task(second())
        await second_waits.wait()
    assert (first, await other) == (True, False)
    assert [event.input_tokens for event in await books.recorded()] == [1]


async def test_a_dead_owners_call_is_booked_estimated_under_the_same_event_id_and_its_late_answer_is_not(
    books: Books, metering: Metering
) -> None:
    dead, alive = a_call(owner="dead"), a_call(owner="alive")
    async with books(ONE) as tx:
        await tx.calls.declare(dead)
        await tx.calls.declare(alive)

    async def is_alive(owner: str) -> bool:
        return owner == "alive"

    assert await metering.take_over(is_alive) == 1
    assert await metering.take_over(is_alive) == 0
    async with books(ONE) as tx:
        assert not await tx.calls.settle(dead.id, Used(118))
    [event] = await books.recorded()
    assert (event.id, event.input_tokens, event.estimated) == (event_id_of(dead.id), 120, True)


async def test_a_call_that_is_open_for_too_long_is_booked_though_its_owner_lives(
    books: Books, metering: Metering
) -> None:
    async with books(ONE) as tx:
        await tx.calls.declare(a_call())
    assert await metering.take_over(everybody_lives) == 0
    assert await metering.take_over(everybody_lives, longest=timedelta(0)) == 1
    assert len(await books.recorded()) == 1


async def test_a_closed_call_or_anothers_cannot_be_declared_again(books: Books, metering: Metering) -> None:
    call = a_call()
    async with books(ONE) as tx:
        await tx.calls.declare(call)
        await tx.calls.declare(call)
    with pytest.raises(ProviderCallClosed):
        async with metering.call(replace(call, owner="worker-2")):
            pytest.fail("must not be called")
    await metering.take_over(nobody_lives)
    with pytest.raises(ProviderCallClosed):
        async with metering.call(call):
            pytest.fail("must not be called")
    assert len(await books.recorded()) == 1


async def test_declaration_and_settlement_share_their_transactions_fate(books: Books) -> None:
    first, second = a_call(), a_call()
    async with books(ONE) as tx:
        await tx.calls.declare(first)
    with pytest.raises(RuntimeError, match="lost"):
        async with books(ONE) as tx:
            await tx.calls.settle(first.id, Used(9))
            await tx.calls.declare(second)
            raise RuntimeError("lost")
    assert await books.states() == ["started"]
    assert await books.events() == []
    async with books(ONE) as tx:
        await tx.calls.settle(first.id, Used(9))
        await tx.calls.declare(second)
    assert sorted(await books.states()) == ["settled", "started"]


async def test_no_tenant_closes_the_call_of_another(books: Books) -> None:
    call = a_call()
    async with books(ONE) as tx:
        await tx.calls.declare(call)
    async with books(TenantId(2)) as tx:
        assert not await tx.calls.settle(call.id, Used(1))
        assert not await tx.calls.void(call.id)
    assert await books.states() == ["started"]


async def test_only_closed_calls_are_forgotten(books: Books, metering: Metering) -> None:
    async with metering.call(a_call()) as made:
        made.used(Used(1))
    async with books(ONE) as tx:
        await tx.calls.declare(a_call())
    await metering.forget(timedelta(days=1))
    assert sorted(await books.states()) == ["settled", "started"]
    await metering.forget(timedelta(0))
    assert await books.states() == ["started"]


async def test_an_unbelievable_figure_is_booked_as_counted_and_told(books: Books, metering: Metering) -> None:
    call = a_call()
    async with metering.call(call) as made:
        made.used(used_of(bounded(10**15, 15, TokenBounds(), "input_tokens")))
    recorded, anomaly = await books.events()
    assert isinstance(recorded, UsageRecorded)
    assert (recorded.input_tokens, recorded.estimated) == (15, True)
    assert isinstance(anomaly, UsageAnomaly)
    assert (anomaly.call_id, anomaly.reported, anomaly.counted, anomaly.reason) == (
        call.id,
        str(10**15),
        15,
        "too_high",
    )


def test_ids_follow_from_what_is_called() -> None:
    document = uuid4()
    assert call_id_of(document, 1, 2) == call_id_of(document, 1, 2)
    assert len({call_id_of(document, 1, 2), call_id_of(document, 12), call_id_of(document, 2, 1)}) == 3
    assert event_id_of(document) != document
