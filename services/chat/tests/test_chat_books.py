"""The books equal what the provider did, whoever dies and whatever is lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from docuchat_chat.conversations.removals import Removals
from docuchat_chat.turns.domain import Question, TurnState
from docuchat_common.errors import QuotaExceeded, StorageFull, UpstreamUnavailable
from docuchat_common.events.catalogue import UsageAnomaly
from docuchat_common.ids import UserId
from docuchat_common.metering import call_id_of, event_id_of
from docuchat_common.removals import RemovedUser
from docuchat_models.chat import Piece, TokenUsage
from docuchat_models.errors import (
    Cost,
    EmbeddingInvalid,
    ProviderFailed,
    ProviderInterrupted,
    ProviderRefused,
    ProviderTimeout,
)
from docuchat_testkit.clock import leap
from docuchat_testkit.eventually import eventually

SAID = ["The warranty ", "lasts two ", "years [1]."]


async def begin(world: Any, *script: Any) -> Any:
    """A turn that has said all of a script and goes on."""
    world.model.scripts = [[*script, asyncio.Event()]]
    answering = await world.asking.ask(world.caller, Question("How long is the warranty?"))
    live = world.registry.turns[answering.turn.id]
    texts = [step for step in script if step != "accept"]
    await eventually(lambda: live.log.texts == texts and bool(world.model.requests))
    return live


async def lose_redis(world: Any) -> None:
    await world.board._redis.flushdb()


async def test_the_spool_has_all_that_was_shown_when_chat_and_redis_are_lost(world: Any) -> None:
    live = await begin(world, *SAID)
    other = await world.other_process()
    await world.die()
    await lose_redis(world)
    assert await other.recovery.sweep() == 1
    (booked,) = await world.chat_usage()
    counted = world.counters("gpt-4o-mini").count("".join(SAID))
    assert (booked.input_tokens, booked.output_tokens, booked.estimated) == (live.turn.prompt_tokens, counted, True)
    assert booked.id == event_id_of(live.turn.id) and booked.hold_id == live.turn.hold_id
    events = await world.collect(await other.replay.resume(world.caller, live.turn.id, 0))
    assert [e["token"] for e in events[2:-1]] == SAID and events[-1]["seq"] == 4
    await other.recovery.sweep()
    assert not list(world.spool_dir.glob(f"{world.owner}.*"))


async def test_who_follows_all_turns_hears_of_one_whose_process_died_before_it_told_of_it(world: Any) -> None:
    told: list[tuple[object, ...]] = []

    class UserEvents:
        def add(self, *entry: object) -> None:
            told.append(entry)

    live = await begin(world, *SAID)
    other = await world.other_process()
    other.registry.user_events = UserEvents()
    await world.die()
    assert await other.recovery.sweep() == 1
    holder, subject = world.caller.holder, world.caller.subject
    assert told == [(holder, kind, live.turn.id, subject) for kind in ("turn", "turn_ended")]


async def test_what_was_sent_is_billed_when_the_process_dies_before_the_first_word(world: Any) -> None:
    live = await begin(world, "accept")
    other = await world.other_process()
    await world.die()
    assert await other.recovery.sweep() == 1
    (booked,) = await world.chat_usage()
    assert (booked.input_tokens, booked.output_tokens, booked.estimated) == (live.turn.prompt_tokens, 0, True)
    assert (await world.turn(live.turn.id)).state is TurnState.INTERRUPTED


async def test_what_was_never_sent_is_not_billed(world: Any) -> None:
    live = await begin(world, "accept")
    world.spool.refused(live.turn.id)  # the last word of the dead process
    other = await world.other_process()
    await world.die()
    assert await other.recovery.sweep() == 1
    assert await world.chat_usage() == []
    assert (await world.turn(live.turn.id)).state is TurnState.FAILED and world.holds.open_holds == {}


async def test_with_the_disk_lost_as_well_the_prompt_is_billed(world: Any) -> None:
    live = await begin(world, *SAID)
    other = await world.other_process()
    await world.die()
    await lose_redis(world)
    for path in list(world.spool_dir.glob(f"{live.turn.owner}.*")):
        path.unlink()
    assert await other.recovery.sweep() == 1
    (booked,) = await world.chat_usage()
    assert (booked.input_tokens, booked.estimated) == (live.turn.prompt_tokens, True)


async def test_without_room_to_note_an_answer_no_model_is_asked_and_nothing_is_paid(world: Any) -> None:
    world.embedder.billable = False
    room, world.spool.least_room = world.spool.least_room, 1 << 62
    with pytest.raises(StorageFull):
        await world.spool.check()
    *_, last = await world.ask()
    assert (last["type"], last["code"]) == ("error", "answer_not_stored") and "SPOOL_DIR" in last["message"]
    assert world.model.requests == [] and await world.usage() == [] and world.holds.open_holds == {}
    world.spool.least_room = room
    await world.spool.check()
    *_, last = await world.ask()
    assert last["type"] == "end"


async def test_a_process_that_lost_its_session_and_lives_keeps_its_turns(world: Any) -> None:
    live = await begin(world, *SAID)
    other = await world.other_process()
    await world.life.aclose()  # its lock is gone; its spool is still locked
    assert await other.recovery.sweep() == 0
    live.stop()
    await live.finished.wait()
    assert len(await world.chat_usage()) == 1


@pytest.mark.parametrize(
    ("reported", "booked_in", "booked_out", "anomalies"),
    [
        (TokenUsage(10**15, 5), None, 5, ["too_high"]),
        (TokenUsage(0, 0), None, None, ["too_low", "too_low"]),
        (TokenUsage(210, 10**9), 210, None, ["too_high"]),
        (TokenUsage(210, 900), 210, 900, []),  # a model may bill what it does not show
    ],
)
async def test_a_figure_that_cannot_be_true_is_not_believed_and_is_told(
    world: Any, reported: TokenUsage, booked_in: int | None, booked_out: int | None, anomalies: list[str]
) -> None:
    world.model.usage = reported
    world.model.scripts = [[*SAID, "stop"]]
    answering = await world.asking.ask(world.caller, Question("How long is the warranty?"))
    await answering.result()
    (booked,) = await world.chat_usage()
    counted = world.counters("gpt-4o-mini").count("".join(SAID))
    assert booked.input_tokens == (booked_in or answering.turn.prompt_tokens)
    assert booked.output_tokens == (booked_out or counted)
    assert booked.estimated == bool(anomalies)
    told = [event for event in await world.events() if isinstance(event, UsageAnomaly)]
    assert sorted(event.reason for event in told) == sorted(anomalies)


@pytest.mark.parametrize("script", [["accept"], [" \n"], [Piece(thoughts="Hm. ")]])
async def test_an_answer_without_text_is_an_error_and_booked(world: Any, script: list[Any]) -> None:
    world.model.scripts = [[*script, Piece(finish_reason="stop", usage=TokenUsage(210, 9))]]
    end = (await world.ask())[-1]
    assert (end["type"], end["code"]) == ("error", "answer_empty")
    (booked,) = await world.chat_usage()
    assert (booked.input_tokens, booked.output_tokens, booked.estimated) == (210, 9, False)


@pytest.mark.parametrize("dies", [False, True])
async def test_what_a_model_thinks_is_a_sign_of_life_and_is_billed_though_nobody_sees_it(
    world: Any, *, dies: bool
) -> None:
    world.with_policy(first_token_timeout=timedelta(seconds=60), between_tokens_timeout=timedelta(seconds=60))
    steps = [asyncio.Event() for _ in range(4)]
    world.model.scripts = [["accept", *(part for step in steps for part in (step, Piece(thoughts="Let me think. ")))]]
    world.model.scripts[0].append(asyncio.Event())
    answering = await world.asking.ask(world.caller, Question("How long is the warranty?"))
    live = world.registry.turns[answering.turn.id]
    for count, step in enumerate(steps, 1):
        step.set()
        await eventually(lambda count=count: len(live.thoughts) == count)
        leap(40)
    other = await world.other_process()
    if dies:
        await world.die()
        assert await other.recovery.sweep() == 1
    else:
        live.stop()
        await live.finished.wait()
    counted = world.counters("gpt-4o-mini").count("Let me think. " * 4)
    (booked,) = await world.chat_usage()
    assert (booked.output_tokens, live.log.texts) == (counted, [])


async def test_embedding_a_question_is_declared_before_and_settled_after_it(world: Any) -> None:
    world.embedder.gate = asyncio.Event()
    asking = asyncio.create_task(world.ask())

    async def declared() -> bool:
        return [row["state"] for row in await world.rows("SELECT state FROM chat.provider_calls")] == ["started"]

    await eventually(declared)
    world.embedder.gate.set()
    turn_id = (await asking)[0]["turn_id"]
    (booked,) = [event for event in await world.usage() if event.kind == "embedding"]
    assert booked.id == event_id_of(call_id_of(turn_id, "question"))
    assert (booked.input_tokens, booked.model, booked.estimated) == (5, "text-embedding-3-small", False)
    assert str(booked.turn_id) == turn_id and booked.user_id == world.caller.user_id
    assert [row["state"] for row in await world.rows("SELECT state FROM chat.provider_calls")] == ["settled"]


async def test_an_embedding_whose_process_died_is_booked_as_expected(world: Any) -> None:
    world.embedder.gate = asyncio.Event()
    asking = asyncio.create_task(world.ask())
    await eventually(lambda: world.rows("SELECT FROM chat.provider_calls"))
    other = await world.other_process()
    assert await other.metering.take_over(other.recovery.is_alive) == 0
    await world.die()
    assert await other.metering.take_over(other.recovery.is_alive) == 1
    asking.cancel()
    (booked,) = await world.usage()
    assert (booked.kind, booked.input_tokens, booked.estimated) == ("embedding", 5, True)


async def test_search_spends_only_what_is_held(world: Any) -> None:
    found = await world.search.search(world.caller, "warranty", 6, None)
    assert found.passages and world.holds.opened == [5]
    (booked,) = await world.usage()
    assert booked.kind == "embedding" and booked.hold_id in world.holds.open_holds
    world.holds.refusal = QuotaExceeded()
    with pytest.raises(QuotaExceeded):
        await world.search.search(world.caller, "warranty", 6, None)
    assert len(await world.rows("SELECT FROM chat.provider_calls")) == 1


@pytest.mark.parametrize(
    ("failure", "booked"),
    [
        (ProviderFailed(), 0),
        (ProviderRefused(), 0),
        (ProviderTimeout(), 5),
        (ProviderInterrupted(), 5),
        (EmbeddingInvalid().costing(Cost(10, 10)), 10),
        (ProviderFailed().costing(Cost(None, 5)), 5),
    ],
)
async def test_a_search_that_fails_gives_its_hold_back_unless_it_may_be_billed(
    world: Any, failure: Exception, booked: int
) -> None:
    world.embedder.failure = failure
    with pytest.raises(UpstreamUnavailable):
        await world.search.search(world.caller, "warranty", 6, None)
    assert sum(event.input_tokens for event in await world.usage()) == booked
    assert bool(world.holds.open_holds) == bool(booked)


@pytest.mark.parametrize("broken", ["knowledge.chunks", "chat.turns"])
async def test_a_hold_does_not_leak_when_search_or_writing_down_fails(world: Any, broken: str) -> None:
    await world.rows(f"ALTER TABLE {broken} RENAME TO gone")
    with pytest.raises(Exception, match="does not exist"):
        await world.ask(key="k")
    assert world.holds.open_holds == {} and len(world.holds.released) == 1
    assert await world.rows("SELECT FROM chat.idempotent_requests") == [] and world.model.requests == []


async def test_usage_that_the_ledger_does_not_have_is_announced_again_under_its_id(world: Any) -> None:
    await world.ask()
    told = {event.id: event.model_dump(exclude={"time"}) for event in await world.usage()}
    assert {event["kind"] for event in told.values()} == {"chat", "embedding"}
    world.with_policy(booking_patience=timedelta())
    assert await world.upkeep.compare_books() == 0, "it still waits in the outbox"
    await world.rows("DELETE FROM chat.outbox")  # the broker took it, and lost its data
    assert await world.upkeep.compare_books() == 2
    assert {event.id: event.model_dump(exclude={"time"}) for event in await world.usage()} == told
    world.ledger.booked.update(told)
    await world.rows("DELETE FROM chat.outbox")
    assert await world.upkeep.compare_books() == 0 and await world.usage() == []
    for table in ("chat.turns", "chat.provider_calls"):
        (row,) = await world.rows(f"SELECT booked_at FROM {table}")
        assert row["booked_at"] is not None


@pytest.mark.parametrize("by", ["its asker", "its asker in mid-answer", "the removal of its asker"])
async def test_what_an_answer_cost_is_announced_again_although_its_chat_was_deleted(world: Any, by: str) -> None:
    world.embedder.billable = False
    world.with_policy(booking_patience=timedelta())
    if by == "its asker in mid-answer":
        turn = (live := await begin(world, *SAID)).turn
        await world.conversations.delete(world.caller, turn.chat_id)
        await asyncio.wait_for(live.finished.wait(), 60)
    else:
        await world.ask(session_id="s")
        ((turn_id, chat_id),) = await world.rows("SELECT id, chat_id FROM chat.turns")
        turn = await world.turn(turn_id)
        if by == "its asker":
            await world.conversations.delete(world.caller, chat_id)
        else:
            who = RemovedUser(world.caller.tenant_id, UserId(world.caller.subject_id))
            await Removals(world.transactions, world.replay).settle(who)
    assert await world.rows("SELECT FROM chat.turns") == []
    (told,) = [event.model_dump(exclude={"time"}) for event in await world.usage()]
    assert (told["id"], told["turn_id"]) == (event_id_of(turn.id), turn.id)
    await world.rows("DELETE FROM chat.outbox")  # the broker took it, and lost its data
    assert await world.upkeep.compare_books() == 1
    assert [event.model_dump(exclude={"time"}) for event in await world.usage()] == [told]


async def test_a_turn_that_the_ledger_never_gets_is_announced_once_in_a_while_and_after_the_others(world: Any) -> None:
    world.embedder.billable = False
    for _ in range(2):
        await world.ask()
    await world.rows("UPDATE chat.turns SET finished_at = finished_at - interval '1 hour'")
    first, second = [row["id"] for row in await world.rows("SELECT id FROM chat.turns ORDER BY finished_at")]
    async with world.transactions(world.caller.tenant_id) as tx:
        assert await tx.turns.announce_again(world.caller.tenant_id, first, world.policy.booking_patience)
    await world.rows("DELETE FROM chat.outbox")
    async with world.transactions.system() as tx:
        assert await tx.turns.list_unbooked(timedelta(), 1) == [(world.caller.tenant_id, second)]
    assert await world.upkeep.compare_books() == 1
    await world.rows("DELETE FROM chat.outbox")
    assert await world.upkeep.compare_books() == 0, "both were just announced"


async def test_the_cost_of_a_turn_in_statements_and_transactions_does_not_grow(world: Any) -> None:
    world.embedder.billable = False
    await world.ask(session_id="s")  # what is looked up once is known
    statements = await world.count_statements(lambda: world.ask("How is the motor covered?", session_id="s"))
    begun = sum(statement.startswith("BEGIN") for statement in statements)
    print(f"P11: {len(statements)} statements, {begun} transactions of a turn")
    # two of them see to it that no quote of a deleted document is stored
    assert begun <= 4 and len(statements) <= 33
