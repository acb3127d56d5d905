"""Turns that are asked for again, followed, stopped, resumed or left behind; on a real database and Redis."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from docuchat_chat.conversations.domain import MessageStatus
from docuchat_chat.conversations.errors import ChatNotFound
from docuchat_chat.turns.domain import Question, TurnState
from docuchat_chat.turns.errors import RequestInProgress, TurnNotFound
from docuchat_chat.turns.responding import Turns
from docuchat_chat.turns.routes import ask
from docuchat_chat.turns.schemas import AnswerView, AskBody
from docuchat_chat.turns.streaming import EventStream
from docuchat_common.errors import QuotaExceeded, RateLimited, UpstreamUnavailable
from docuchat_common.http.problems import response_for
from docuchat_common.idempotency import IdempotencyKeyReused
from docuchat_common.ids import TurnId
from docuchat_models.chat import Piece
from docuchat_models.errors import ProviderInterrupted, ProviderRateLimited
from docuchat_testkit.eventually import eventually


async def test_another_process_can_stop(world: Any) -> None:
    world.model.scripts = [["The warranty lasts", asyncio.Event(), "never", "stop"]]
    answering = await world.asking.ask(world.caller, Question("How long?"))
    other = await world.other_process()
    await eventually(lambda: len(world.registry.turns[answering.turn.id].log.texts) == 1)
    assert await other.replay.stop(world.caller, answering.turn.id) is TurnState.RUNNING
    assert (await answering.result()).message.status is MessageStatus.STOPPED
    assert await other.replay.stop(world.caller, answering.turn.id) is TurnState.STOPPED
    assert (await world.chat_usage())[0].output_tokens == 3


async def test_another_process_can_resume(world: Any) -> None:
    gate = asyncio.Event()
    world.model.scripts = [["one ", "two ", gate, "three", "stop"]]
    answering = await world.asking.ask(world.caller, Question("How long?"))
    other = await world.other_process()
    await eventually(lambda: len(world.registry.turns[answering.turn.id].log.texts) == 2)
    follower = asyncio.create_task(world.collect(await other.replay.resume(world.caller, answering.turn.id, 1)))
    gate.set()
    events = await follower
    assert [event.get("seq") for event in events] == [2, 3, 4] and events[-1]["type"] == "end"


async def test_every_resume_point_gives_exactly_the_rest(world: Any) -> None:
    world.model.scripts = [["a", "b", "c", "d [1]", "stop"]]
    events = await world.ask()
    turn_id = TurnId(UUID(events[0]["turn_id"]))
    for process in (world, await world.other_process()):
        for after in (*range(6), 104):
            rest = await world.collect(await process.replay.resume(world.caller, turn_id, after))
            expected = events if after == 0 else [e for e in events if e.get("seq", -1) > after] or events[-1:]
            assert rest == expected, after


async def test_somebody_elses_turn_is_not_found(world: Any) -> None:
    answering = await world.asking.ask(world.caller, Question("How long?"))
    other = world.new_caller()
    with pytest.raises(TurnNotFound):
        await world.replay.resume(other, answering.turn.id, 0)
    with pytest.raises(TurnNotFound):
        await world.replay.stop(other, answering.turn.id)


async def test_the_same_key_replays_and_another_body_is_refused(world: Any) -> None:
    first = await world.ask("How long?", key="k1")
    again = await world.ask("How long?", key="k1")
    assert first == again and len(world.model.requests) == 1
    restarted = await world.other_process()
    assert await restarted.ask("How long?", key="k1") == first
    with pytest.raises(IdempotencyKeyReused):
        await world.ask("How short?", key="k1")
    assert len(await world.chat_usage()) == 1


async def test_a_running_key_is_attached_to_or_refused(world: Any) -> None:
    gate = asyncio.Event()
    world.model.scripts = [["one", gate, " two", "stop"]]
    first = await world.asking.ask(world.caller, Question("How long?"), key="k")
    with pytest.raises(RequestInProgress):
        await world.asking.ask(world.caller, Question("How long?"), key="k")
    attached = await world.asking.ask(world.caller, Question("How long?"), key="k", attach=True)
    assert attached.turn.id == first.turn.id
    gate.set()
    assert (await attached.result()).message.content == "one two"


async def test_a_refused_request_gives_its_key_back(world: Any) -> None:
    world.holds.refusal = QuotaExceeded()
    with pytest.raises(QuotaExceeded):
        await world.ask("How long?", key="k")
    world.holds.refusal = None
    assert (await world.ask("How long?", key="k"))[-1]["type"] == "end"


async def test_a_closing_process_keeps_and_books_what_came(world: Any) -> None:
    world.model.scripts = [["The warranty", asyncio.Event(), "stop"]]
    answering = await world.asking.ask(world.caller, Question("How long?"))
    await eventually(lambda: len(world.registry.turns[answering.turn.id].log.texts) == 1)
    await world.generator.drain()
    turn = await world.turn(answering.turn.id)
    assert turn.state is TurnState.INTERRUPTED and (await world.chat_usage())[0].output_tokens == 2


async def test_a_dead_process_turn_is_settled_once_from_what_it_had_noted(world: Any) -> None:
    world.model.scripts = [["The warranty lasts", asyncio.Event(), "stop"]]
    answering = await world.asking.ask(world.caller, Question("How long?"))
    live = world.registry.turns[answering.turn.id]
    await eventually(lambda: len(live.log.texts) == 1)
    second, third = await world.other_process(), await world.other_process()
    assert await second.recovery.sweep() == 0
    spool = world.spool
    await world.die()
    assert await asyncio.gather(second.recovery.sweep(), third.recovery.sweep()) in ([1, 0], [0, 1])
    (recorded,) = await world.chat_usage()
    assert recorded.estimated and recorded.output_tokens == 3
    assert recorded.input_tokens == answering.turn.prompt_tokens
    events = await world.collect(await second.replay.resume(world.caller, answering.turn.id, 0))
    assert events[-1]["type"] == "error" and events[2]["token"] == "The warranty lasts"

    live.stop()
    await live.finished.wait()
    assert len(await world.chat_usage()) == 1 and spool is not None


async def test_deleting_a_chat_stops_its_answer_and_books_it(world: Any) -> None:
    world.model.scripts = [["The warranty", asyncio.Event(), "stop"]]
    answering = await world.asking.ask(world.caller, Question("How long?"))
    live = world.registry.turns[answering.turn.id]
    await eventually(lambda: len(live.log.texts) == 1)
    await world.conversations.delete(world.caller, answering.turn.chat_id)
    await live.finished.wait()
    assert await world.rows("SELECT FROM chat.messages") == []
    assert (await world.chat_usage())[0].output_tokens == 2


async def test_a_key_replays_the_same_answer_to_the_byte_also_from_another_process(world: Any) -> None:
    world.model.scripts = [["Two years [1]. Red [9].", "stop"]]

    async def answer(process: Any) -> bytes:
        answering = await process.asking.ask(world.caller, Question("How long is the warranty?"), key="k")
        return AnswerView.of(await answering.result()).model_dump_json().encode()

    first = await answer(world)
    assert [await answer(world), await answer(await world.other_process())] == [first, first]


async def test_the_key_of_a_killed_answer_says_the_same_each_time(world: Any) -> None:
    world.model.scripts = [["The warranty lasts", asyncio.Event()]]
    question = Question("How long is the warranty?")
    answering = await world.asking.ask(world.caller, question, key="k")
    await eventually(lambda: world.registry.turns[answering.turn.id].log.texts)
    other = await world.other_process()
    with pytest.raises(RequestInProgress):
        await other.asking.ask(world.caller, question, key="k")
    await world.die()
    await other.recovery.sweep()
    told = []
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable) as error:
            await (await other.asking.ask(world.caller, question, key="k")).result()
        told.append((error.value.code, error.value.detail, error.value.retry_after, error.value.extensions))
        assert "Retry-After" not in response_for(error.value).headers
    assert told[0] == told[1] and told[0][0] == "answer_interrupted"
    assert told[0][3]["turn_id"] == str(answering.turn.id)
    attached = await other.asking.ask(world.caller, question, key="k", attach=True)
    kept, error_frame = (await world.collect(attached.events(-1)))[-2:]
    assert kept["token"] == "The warranty lasts"
    assert (error_frame["code"], error_frame["message"]) == told[0][:2]


@pytest.mark.parametrize(
    "script",
    [
        ["The", ProviderInterrupted()],
        ["The", TimeoutError()],
        ["The", ProviderRateLimited(retry_after=timedelta(seconds=9))],
        ["stop"],
        ["The", Piece(finish_reason="a\x00b")],
    ],
    ids=["cut", "silent", "limited", "empty", "not stored"],
)
async def test_the_key_of_an_interrupted_answer_asks_for_a_new_one_and_for_no_waiting(world: Any, script: Any) -> None:
    world.model.scripts = [script]
    question = Question("How long is the warranty?")
    told = []
    for process in (world, world, await world.other_process()):
        with pytest.raises((UpstreamUnavailable, RateLimited)) as error:
            await (await process.asking.ask(world.caller, question, key="k")).result()
        told.append((error.value.code, error.value.detail))
        assert "Retry-After" not in response_for(error.value).headers
    assert len(set(told)) == 1 and told[0][1].endswith(". Ask again with a new Idempotency-Key.")
    (turn,) = await world.rows("SELECT id FROM chat.turns")
    last = (await world.collect(await world.replay.resume(world.caller, TurnId(turn["id"]), 0)))[-1]
    assert (last["code"], last["message"], last.get("retry_after")) == (*told[0], None)


async def test_an_interrupted_answer_without_a_key_may_be_asked_for_again(world: Any) -> None:
    world.model.scripts = [["The", ProviderInterrupted()]]
    with pytest.raises(ProviderInterrupted) as error:
        await (await world.asking.ask(world.caller, Question("How long is the warranty?"))).result()
    assert error.value.detail == ProviderInterrupted().detail
    assert response_for(error.value).headers["Retry-After"] == "2"


async def test_a_key_whose_process_died_before_its_turn_was_written_is_free_again(world: Any) -> None:
    world.embedder.gate = asyncio.Event()
    asking = asyncio.create_task(world.ask(key="k"))
    await eventually(lambda: world.rows("SELECT FROM chat.idempotent_requests"))
    other = await world.other_process()
    other.embedder = type(world.embedder)()
    other.wire()
    with pytest.raises(RequestInProgress) as running:
        await other.ask(key="k")
    assert timedelta() < running.value.retry_after <= timedelta(seconds=6)
    await world.rows("UPDATE chat.idempotent_requests SET lease_until = now()")  # nobody renews it any more
    assert (await other.ask(key="k"))[-1]["type"] == "end"
    world.embedder.gate.set()
    with pytest.raises(RequestInProgress):  # it was not killed, only late: it begins nothing
        await asking
    assert len(await world.rows("SELECT FROM chat.turns")) == len(world.holds.open_holds) == 1


@pytest.mark.parametrize("commit", range(1, 6))
async def test_a_commit_that_was_not_answered_bars_no_key(world: Any, commit: int) -> None:
    """The claim's, the search's, the turn's, the answer's and the release's."""
    world.embedder.billable = False
    world.transactions.lose_next = commit
    for _ in range(20):
        try:
            answering = await world.asking.ask(world.caller, Question("How long is the warranty?"), key="k")
            answer = await answering.result()
        except (UpstreamUnavailable, RequestInProgress):
            await world.recovery.sweep()
        else:
            break
    assert answer.message.content == "Two years [1]."
    await eventually(lambda: world.transactions.lost == 1 and world.registry.open == set())
    assert len(await world.chat_usage()) == len(world.model.requests) == 1
    assert await world.rows("SELECT FROM chat.turns WHERE state = 'running'") == []


async def test_a_notice_whose_commit_was_not_answered_is_told_when_the_key_is_repeated(bare_world: Any) -> None:
    bare_world.embedder.billable = False
    bare_world.transactions.lose_next = 4
    with pytest.raises(UpstreamUnavailable):
        await bare_world.ask(key="k")
    assert (await bare_world.ask(key="k"))[-1]["finish_reason"] == "no_sources"


@pytest.mark.parametrize("running", [False, True])
async def test_the_key_of_a_question_whose_chat_was_deleted_says_so(world: Any, *, running: bool) -> None:
    gate = asyncio.Event()
    world.model.scripts = [["The warranty", gate]]
    answering = await world.asking.ask(world.caller, Question("How long is the warranty?"), key="k")
    live = world.registry.turns[answering.turn.id]
    await eventually(lambda: live.log.texts)
    if not running:
        gate.set()
        await live.finished.wait()
    await world.conversations.delete(world.caller, answering.turn.chat_id)
    await live.finished.wait()
    for process in (world, await world.other_process()):
        with pytest.raises(ChatNotFound, match="has been deleted"):
            await process.ask("How long is the warranty?", key="k")
    assert len(world.model.requests) == 1


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_nothing_is_left_of_a_chat_that_was_deleted_in_mid_answer(world: Any, *, elsewhere: bool) -> None:
    world.model.scripts = [["The warranty", asyncio.Event()]]
    answering = await world.asking.ask(world.caller, Question("How long is the warranty?"))
    live = world.registry.turns[answering.turn.id]
    await eventually(lambda: live.log.texts)
    await eventually(lambda: world.board._redis.keys("chat:turn:*"))
    deleter = await world.other_process() if elsewhere else world
    await deleter.conversations.delete(world.caller, answering.turn.chat_id)
    await live.finished.wait()
    assert await world.rows("SELECT FROM chat.turns") == await world.rows("SELECT FROM chat.messages") == []
    assert await world.board._redis.keys("chat:turn:*") == []
    assert (await world.chat_usage())[0].output_tokens == 2
    with pytest.raises(TurnNotFound):
        await world.replay.resume(world.caller, answering.turn.id, 0)


async def test_a_stream_has_its_head_while_it_is_prepared_and_its_refusal_as_a_frame(world: Any) -> None:
    world.with_policy(head_patience=timedelta(milliseconds=20))
    world.embedder.gate = asyncio.Event()
    turns = Turns(world.asking, world.replay)
    body = AskBody(message="How long is the warranty?", stream=True)
    late = await ask(body, world.caller, turns)
    refused = await ask(body, world.caller, turns)
    assert isinstance(late, EventStream) and late.headers["X-Turn-ID"]
    world.embedder.gate.set()
    events = await world.collect(late._frames)
    assert events[0]["turn_id"] == late.headers["X-Turn-ID"] and events[-1]["type"] == "end"
    assert (await world.collect(refused._frames))[-1]["type"] == "end"
    world.with_policy(head_patience=timedelta(minutes=1))  # a refusal that comes before the head is a plain answer
    turns = Turns(world.asking, world.replay)
    world.holds.refusal = QuotaExceeded(retry_after=timedelta(hours=1))
    with pytest.raises(QuotaExceeded):
        await ask(body, world.caller, turns)
