"""The books are compared with the ledger: what it does not have is announced again."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from docuchat_common.events.envelope import Event
from docuchat_common.ids import uuid7
from docuchat_common.metering import Metering, Used, event_id_of

from .metered import ONE, SCHEMA, Books, a_call


class Ledger:
    """Books that have what they are told."""

    def __init__(self) -> None:
        self.booked: set[UUID] = set()

    async def known(self, event_ids: Sequence[UUID]) -> set[UUID]:
        return self.booked & set(event_ids)


async def test_usage_that_the_ledger_does_not_have_is_announced_again_under_its_id(
    books: Books, metering: Metering
) -> None:
    ledger, at_once = Ledger(), timedelta()
    async with metering.call(a_call()) as made:
        made.used(Used(50, estimated=False))
    assert await metering.compare_books(ledger, at_once) == 0, "it still waits in the outbox"
    lost = await _take_all_events(books)
    assert await metering.compare_books(ledger, timedelta(minutes=1)) == 0, "it may still be on its way"
    assert await metering.compare_books(ledger, at_once) == 1
    again = await _take_all_events(books)
    assert [event.model_dump(exclude={"time"}) for event in again] == [
        event.model_dump(exclude={"time"}) for event in lost
    ]
    ledger.booked.add(lost[0].id)
    assert await metering.compare_books(ledger, at_once) == 0
    ledger.booked.clear()
    assert await metering.compare_books(ledger, at_once) == 0, "what is booked is not asked about again"


async def test_a_call_that_the_ledger_never_gets_does_not_stand_before_the_others(
    books: Books, metering: Metering
) -> None:
    first, second = a_call(), a_call()
    for call in (first, second):
        async with metering.call(call) as made:
            made.used(Used(50))
    await _take_all_events(books)
    async with books(ONE) as tx:
        assert await tx.calls.announce_again(first.id, timedelta())
    await _take_all_events(books)
    async with books.system() as tx:
        assert await tx.calls.list_unbooked(timedelta(), 1) == [(ONE, second.id)]


async def test_all_that_is_due_is_compared_at_once_however_much_it_is(books: Books, metering: Metering) -> None:
    ids = [uuid7() for _ in range(1_100)]
    async with books(ONE) as tx:
        await tx.connection.execute(
            f"""
            INSERT INTO {SCHEMA}.provider_calls
                (id, tenant_id, owner, state, kind, provider, model, expected_input_tokens, expected_output_tokens,
                 input_tokens, output_tokens, estimated, closed_at)
            SELECT id, $2, 'worker', 'settled', 'embedding', 'p', 'm', 1, 0, 1, 0, false, now()
            FROM unnest($1::uuid[]) AS id
            """,
            ids,
            ONE,
        )
    ledger = Ledger()
    ledger.booked = {event_id_of(call_id) for call_id in ids[:-10]}
    assert await metering.compare_books(ledger, timedelta()) == 10
    async with books.system() as tx:
        assert (
            await tx.connection.fetchval(f"SELECT count(*) FROM {SCHEMA}.provider_calls WHERE booked_at IS NULL") == 10
        )


async def test_of_two_processes_that_compare_at_once_one_announces(books: Books, metering: Metering) -> None:
    call = a_call()
    async with metering.call(call) as made:
        made.used(Used(50))
    await _take_all_events(books)
    async with books(ONE) as tx:
        assert await tx.calls.announce_again(call.id, timedelta(minutes=1))
    async with books(ONE) as tx:
        assert not await tx.calls.announce_again(call.id, timedelta(minutes=1))
    assert len(await books.recorded()) == 1


async def _take_all_events(books: Books) -> list[Event]:
    events = await books.events()
    async with books.system() as tx:
        await tx.connection.execute(f"DELETE FROM {SCHEMA}.outbox")
    return events
