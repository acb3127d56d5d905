"""Responses of OpenAI's kind: pure rules of their events, ids, marks and requests; the stream of another process."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from docuchat_chat.answers.domain import Citation
from docuchat_chat.conversations.domain import Message, MessageStatus
from docuchat_chat.openai_api.domain import Asked
from docuchat_chat.openai_api.errors import InvalidParameter, UnsupportedParameter
from docuchat_chat.openai_api.responses import (
    Given,
    ResponseId,
    answer_item_of,
    id_of,
    marks_of,
    parse_item,
    parse_response_id,
)
from docuchat_chat.openai_api.responses_events import ResponseEvents
from docuchat_chat.openai_api.responses_requests import ResponseBody
from docuchat_chat.openai_api.responses_service import view_of
from docuchat_chat.turns.answering import StoredTurn
from docuchat_chat.turns.domain import MESSAGE_STATUS, Question, Turn, TurnState
from docuchat_chat.turns.errors import AnswerInterrupted, TooBusy
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatId, ChunkId, CollectionId, DocumentId, MessageId, TenantId, TurnId, uuid7
from docuchat_common.metering import Used

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PIECES = ("Two ", "years [1]", ", as it says [2, 1].")
TEXT = "".join(PIECES)


def citation(number: int) -> Citation:
    return Citation(
        number, ChunkId(uuid7()), DocumentId(uuid7()), "Handbook", "handbook.pdf", 3, 3, f"Quote {number}.", 0.9
    )


def stored(
    reason: str = "stop",
    state: TurnState = TurnState.COMPLETED,
    error_code: str | None = None,
    citations: tuple[Citation, ...] = (),
) -> StoredTurn:
    turn = Turn(
        id=TurnId(uuid7()),
        caller=Caller(TenantId(1), "user", UUID(int=7)),
        chat_id=ChatId(uuid7()),
        session_id="s",
        user_message_id=MessageId(uuid7()),
        message_id=MessageId(uuid7()),
        model="gpt-4o-mini",
        provider="openai",
        provider_model="gpt-4o-mini",
        hold_id=None,
        prompt_tokens=9,
        owner="1",
        created_at=NOW,
        state=state,
        usage=Used(9, 4),
        finish_reason=reason,  # type: ignore[arg-type]  # of a parametrized test
        frame_lengths=tuple(map(len, PIECES)),
        error_code=error_code,
        finished_at=NOW + timedelta(seconds=2),
    )
    message = Message(
        turn.message_id,
        turn.chat_id,
        2,
        "assistant",
        TEXT,
        citations,
        turn.usage,
        turn.model,
        MESSAGE_STATUS.get(state, MessageStatus.COMPLETE),
        {"finish_reason": reason},
        NOW + timedelta(seconds=2),
    )
    return StoredTurn(turn, message)


async def events_of(answering: Any, after: int = -1) -> list[dict[str, Any]]:
    body = b"".join([frames async for frames in ResponseEvents(Given(), after).following(answering)])
    return [orjson.loads(block.partition(b"data: ")[2]) for block in body.split(b"\n\n")[:-1]]


async def test_each_number_is_a_place_and_what_follows_any_is_the_same() -> None:
    turn = stored(citations=(citation(1), citation(2)))
    events = await events_of(turn)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["delta"] for event in events[4:7]] == list(PIECES)
    marks = [event["annotation"] for event in events if event["type"] == "response.output_text.annotation.added"]
    assert [(mark["number"], mark["index"]) for mark in marks] == [(1, 10), (2, 26), (1, 26)]
    assert [TEXT[mark["index"]] for mark in marks] == ["["] * 3
    for after in range(len(events) - 1):
        assert await events_of(turn, after) == events[after + 1 :]
    assert await events_of(turn, len(events) + 5) == events[-1:], "who has all is told how it ended"


@pytest.mark.parametrize(
    ("reason", "state", "last", "status", "why"),
    [
        ("stop", TurnState.COMPLETED, "response.completed", "completed", None),
        ("no_sources", TurnState.COMPLETED, "response.completed", "completed", None),
        ("length", TurnState.COMPLETED, "response.incomplete", "incomplete", "max_output_tokens"),
        ("content_filter", TurnState.COMPLETED, "response.incomplete", "incomplete", "content_filter"),
        ("stopped", TurnState.STOPPED, "response.incomplete", "cancelled", None),
    ],
)
async def test_how_an_answer_ended_is_said_in_their_words(
    reason: str, state: TurnState, last: str, status: str, why: str | None
) -> None:
    turn = stored(reason, state)
    (ending,) = (await events_of(turn))[-1:]
    response = ending["response"]
    assert (ending["type"], response["status"]) == (last, status)
    assert (response["incomplete_details"] or {"reason": None})["reason"] == why
    assert response["output"][0]["content"][0]["text"] == TEXT
    assert (await view_of(turn)).model_dump(mode="json") == response


async def test_an_answer_that_something_else_ended_has_failed_and_shows_what_came() -> None:
    turn = stored("error", TurnState.INTERRUPTED, AnswerInterrupted.code)
    ending = (await events_of(turn))[-1]
    assert (ending["type"], ending["sequence_number"]) == ("response.failed", 4 + len(PIECES))
    response = ending["response"]
    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
    assert response["docuchat"]["error_code"] == AnswerInterrupted.code
    assert response["output"][0]["status"] == "incomplete"
    assert response["output"][0]["content"][0]["text"] == TEXT
    assert (await view_of(turn)).model_dump(mode="json") == response


def test_a_late_refusal_is_an_error_that_clients_raise() -> None:
    body = ResponseEvents(Given()).of_refusal(TurnId(uuid7()), TooBusy())
    name, data = body.rstrip().split(b"\n")
    event = orjson.loads(data.removeprefix(b"data: "))
    assert name == b"event: error"
    assert (event["type"], event["code"], event["error"]["code"]) == ("error", "too_busy", "too_busy")
    assert event["sequence_number"] == 0


def test_an_id_says_turn_and_answer_and_nothing_else_is_one() -> None:
    turn = stored().turn
    assert parse_response_id(id_of(turn)) == ResponseId(turn.id, turn.message_id)
    for name in ("", "resp_", f"resp_{turn.id.hex}", f"{id_of(turn)}0", f"{id_of(turn)}\n", str(turn.id)):
        assert parse_response_id(name) is None
    assert parse_item(f"msg_{turn.id.hex}\n") is None
    unkept = replace(turn, given={"store": False})
    assert (parse_response_id(id_of(unkept)), parse_item(answer_item_of(unkept))) == (None, None)


def test_a_citation_that_stands_nowhere_is_at_the_end() -> None:
    assert [mark.index for mark in marks_of("Yes [2].", [citation(1), citation(2)])] == [4, 8]


def question_of(**fields: Any) -> Any:
    body = ResponseBody.model_validate({"model": "m", "input": "Now?", **fields})
    return body.to_question(Asked("m", "m"), 1000)[0]


def test_what_was_said_before_comes_from_the_request_or_from_what_it_follows() -> None:
    said = [{"role": "user", "content": "Then?"}, {"role": "assistant", "content": "Then."}]
    question = question_of(
        input=[{"role": "developer", "content": "Rhyme."}, *said, {"role": "user", "content": "Now?"}]
    )
    assert ([past.content for past in question.history], question.wishes) == (["Then?", "Then."], "Rhyme.")
    previous = id_of(stored().turn)
    followed = question_of(previous_response_id=previous)
    assert followed.history is None and previous.endswith(followed.branch.message_id.hex)
    reference = {"type": "item_reference", "id": f"msg_{previous[-32:]}"}
    referred = question_of(input=[*said, reference, {"role": "user", "content": "Now?"}])
    assert (referred.history, referred.branch) == (None, followed.branch)
    with pytest.raises(UnsupportedParameter, match="store"):
        question_of(previous_response_id=previous, store=False)
    both = {"input": [*said, {"role": "user", "content": "Now?"}], "previous_response_id": previous}
    with pytest.raises(InvalidParameter):
        question_of(**both)


def test_what_has_a_session_is_not_left_unkept() -> None:
    with pytest.raises(UnsupportedParameter, match="session_id"):
        question_of(store=False, docuchat={"session_id": "s"})


def test_a_file_search_names_the_collection() -> None:
    collection = CollectionId(uuid7())
    tool = {"type": "file_search", "vector_store_ids": [str(collection)]}
    assert question_of(tools=[tool]).collection_id == collection
    assert question_of(tools=[{"type": "file_search"}]).collection_id is None
    with pytest.raises(InvalidParameter):
        question_of(tools=[{**tool, "vector_store_ids": ["vs_1"]}])
    with pytest.raises(InvalidParameter):
        question_of(tools=[tool], docuchat={"collection_id": str(uuid7())})


async def test_a_turn_of_another_process_is_followed_with_the_same_events(world: Any) -> None:
    gate = asyncio.Event()
    world.model.scripts = [["Two ", gate, "years [1].", "stop"]]
    answering = await world.asking.ask(world.caller, Question("How long is the warranty?"))
    other = await world.other_process()
    elsewhere = await other.replay.answering(world.caller, answering.turn.id)
    here, there = asyncio.create_task(events_of(answering)), asyncio.create_task(events_of(elsewhere))
    gate.set()
    told, followed = await here, await there
    assert (
        told[-1]["type"] == "response.completed"
        and "years [1]." in told[-1]["response"]["output"][0]["content"][0]["text"]
    )
    assert followed == told
    assert (await elsewhere.result()).message.content == "Two years [1]."
    assert len(world.model.requests) == 1


async def test_a_response_costs_no_more_statements_than_a_question_of_the_products_own(world: Any) -> None:
    async def ask(*questions: Question) -> list[Any]:
        return [await (await world.asking.ask(world.caller, question)).result() for question in questions]

    plain = Question("How long is the warranty?", history=())
    response = question_of(input=plain.text, model="gpt-4o-mini", metadata={"order": "7"}, instructions="Rhyme.")
    response = replace(response, model="")
    await ask(plain)  # the first of a process counts more
    own = len(await world.count_statements(lambda: ask(plain)))
    told: list[Any] = []

    async def as_response() -> None:
        told.extend(await ask(response))

    assert len(await world.count_statements(as_response)) == own
    assert (await world.turn(told[0].turn.id)).given == response.given


async def test_what_is_not_stored_ends_with_its_reader_and_what_is_stored_does_not(world: Any) -> None:
    for store in (False, True):
        gate = asyncio.Event()
        world.model.scripts = [["Two ", gate, "years [1].", "stop"]]
        world.model.requests.clear()
        question = replace(question_of(store=store), text="How long is the warranty?", model="")
        answering = await world.asking.ask(world.caller, question)
        events = ResponseEvents(Given(store=store)).of(answering)
        assert b"response.created" in await anext(events)
        await events.aclose()
        gate.set()
        answer = await answering.result()
        assert (answer.message.metadata["finish_reason"] == "stopped") is not store
