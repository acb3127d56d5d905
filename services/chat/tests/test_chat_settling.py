"""Every turn is settled and booked while its process lives, whatever the provider says and the database refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import structlog

from docuchat_chat.turns.domain import Question, TurnState
from docuchat_common.errors import UpstreamUnavailable
from docuchat_models.chat import Piece, TokenUsage
from docuchat_testkit.eventually import eventually

FIGURES = TokenUsage(321, 7)


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    """What is logged; the tracebacks are not laid out, which takes long."""
    with structlog.testing.capture_logs() as logs:
        yield logs


async def test_an_answer_that_cannot_be_stored_is_booked_all_the_same(world: Any) -> None:
    world.model.scripts = [["Two years [1].", Piece(finish_reason="a\x00b", usage=FIGURES)]]
    events = await world.ask(key="k")
    assert (events[-1]["type"], events[-1]["code"], events[-1]["seq"]) == ("error", "answer_not_stored", 1)
    (booked,) = await world.chat_usage()
    assert (booked.input_tokens, booked.output_tokens, booked.estimated) == (321, 7, False)
    (turn,) = await world.rows("SELECT state FROM chat.turns")
    assert turn["state"] == "interrupted" and await world.completed() != []
    with pytest.raises(UpstreamUnavailable) as again:
        answering = await (await world.other_process()).asking.ask(
            world.caller, Question("How long is the warranty?"), key="k"
        )
        await answering.result()
    assert again.value.code == "answer_not_stored" and len(world.model.requests) == 1


async def test_a_turn_that_the_database_refuses_is_settled_as_soon_as_it_takes_it(world: Any) -> None:
    world.model.scripts = [["Two years [1].", Piece(finish_reason="stop", usage=FIGURES)]]
    await world.rows("ALTER TABLE chat.messages RENAME COLUMN citations TO gone")
    answering = await world.asking.ask(world.caller, Question("How long is the warranty?"))
    with pytest.raises(UpstreamUnavailable) as told:
        await answering.result()
    assert told.value.code == "storage_unavailable" and await world.chat_usage() == []
    assert await world.recovery.sweep() == 0, "it is still being settled, with the provider's figures"
    world.transactions.away = True  # else the column may be back between the whole and the reduced of one try
    await world.rows("ALTER TABLE chat.messages RENAME COLUMN gone TO citations")
    world.transactions.away = False
    (booked,) = await eventually(world.chat_usage)
    assert (booked.input_tokens, booked.output_tokens, booked.estimated) == (321, 7, False)
    assert (await world.turn(answering.turn.id)).state is TurnState.COMPLETED
    await eventually(lambda: answering.turn.id not in world.registry.turns)
    events = await world.collect(await world.replay.resume(world.caller, answering.turn.id, 0))
    assert events[-1]["type"] == "end" and events[-1]["usage"]["total_tokens"] == 328


async def test_a_long_outage_of_the_database_ends_with_the_turn_settled(world: Any) -> None:
    world.with_policy(storage_patience=timedelta(milliseconds=50))
    gate = asyncio.Event()
    world.model.scripts = [["Two years [1].", gate, Piece(finish_reason="stop", usage=FIGURES)]]
    answering = await world.asking.ask(world.caller, Question("How long is the warranty?"))
    world.transactions.away = True
    gate.set()
    with pytest.raises(UpstreamUnavailable) as told:
        await answering.result()
    assert told.value.code == "storage_unavailable"
    world.transactions.away = False
    await eventually(lambda: answering.turn.id not in world.registry.open)
    assert (await world.turn(answering.turn.id)).state is TurnState.COMPLETED
    (booked,) = await world.chat_usage()
    assert (booked.input_tokens, booked.output_tokens, booked.estimated) == (321, 7, False)


async def test_a_turn_whose_beginning_was_not_answered_is_not_left_running(world: Any) -> None:
    world.embedder.billable = False
    world.transactions.lose_next = 2  # the search, then the turn
    with pytest.raises(UpstreamUnavailable):
        await world.ask()
    (row,) = await world.rows("SELECT id, state FROM chat.turns")
    assert row["state"] == "running"
    assert await world.recovery.sweep() == 1
    assert (await world.turn(row["id"])).state is TurnState.FAILED
    assert await world.chat_usage() == [] and world.model.requests == [] and world.holds.open_holds == {}


async def test_a_turn_that_is_being_prepared_is_not_taken_for_one_that_was_left(world: Any) -> None:
    gate = asyncio.Event()
    world.model.scripts = [[gate, "Two years [1].", "stop"]]
    answering = await world.asking.ask(world.caller, Question("How long is the warranty?"))
    assert await world.recovery.sweep() == 0
    gate.set()
    assert (await answering.result()).message.content == "Two years [1]."
    assert world.registry.open == set()


async def test_a_turn_that_cannot_be_recovered_keeps_no_other_waiting(world: Any) -> None:
    world.model.scripts = [["The warranty", asyncio.Event()]]
    first = await world.asking.ask(world.caller, Question("How long is the warranty?"))
    second = await world.asking.ask(world.caller, Question("How long is the warranty?"))
    await eventually(lambda: all(live.log.texts for live in world.registry.turns.values()))
    other = await world.other_process()
    await world.die()
    await world.rows("UPDATE chat.turns SET sources = '[{}]' WHERE id = $1", first.turn.id)
    assert await other.recovery.sweep() == 1
    assert (await world.turn(second.turn.id)).state is TurnState.INTERRUPTED
