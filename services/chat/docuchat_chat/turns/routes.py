"""HTTP of turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Response

from docuchat_chat.answers.errors import MessageEmpty, ModelNotAllowed
from docuchat_chat.chatbots.errors import ChatbotNotFound
from docuchat_chat.conversations.errors import (
    ChatFull,
    ChatNotFound,
    MessageTooLong,
    NotAQuestion,
)
from docuchat_chat.feedback.errors import MessageNotFound, NotAnAnswer
from docuchat_chat.turns.answering import Answering
from docuchat_chat.turns.asking import AskService
from docuchat_chat.turns.domain import Question
from docuchat_chat.turns.errors import (
    ANSWER_ERRORS,
    RequestInProgress,
    ShuttingDown,
    TooBusy,
    TurnNotFound,
)
from docuchat_chat.turns.frames import refusal_frame
from docuchat_chat.turns.replay import ReplayService
from docuchat_chat.turns.schemas import AnotherAnswer, AnswerView, AskBody, EditedQuestion, StoppedView
from docuchat_chat.turns.streaming import EventStream
from docuchat_common.acts import excuse_act
from docuchat_common.audit import audited
from docuchat_common.contracts.holds import HOLD_REFUSED
from docuchat_common.errors import DocuChatError
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import IdempotencyKey
from docuchat_common.http.json_body import TextRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import Responses, raises
from docuchat_common.http.provided import provided
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS
from docuchat_common.ids import TurnId, uuid7
from docuchat_knowledge.collections.errors import CollectionNotFound
from docuchat_knowledge.documents.errors import DocumentNotFound

router = APIRouter(prefix="/v1", route_class=TextRoute)


EVENTS: Final[Responses] = {
    200: {
        "description": "With `stream: true`, or where only a stream is served: server-sent events `start`, `sources`, "
        "`delta` (`id` is its number, from 1), then `end` or `error`. A dropped stream resumes at "
        "`GET /v1/turns/{turn_id}/events`.",
        "headers": {"X-Turn-ID": {"description": "With a stream: its turn.", "schema": {"type": "string"}}},
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'event: delta\nid: 1\ndata: {"type":"delta","turn_id":"…","seq":1,"token":"Yes [1]."}\n\n',
            }
        },
    }
}


@dataclass(frozen=True, slots=True)
class Turns:
    """What the routes of turns use of the container."""

    asking: AskService
    replay: ReplayService


Held = Annotated[Turns, provided("turns")]
Asker = Annotated[Caller, requires("chats.use")]
MessagePath = Annotated[UUID, Path(description="Id of a message of one's own.")]
TurnPath = Annotated[UUID, Path(description="Id of a turn, from `start` or from the answer.")]


_REFUSALS: Final = (
    MessageEmpty,
    MessageTooLong,
    ModelNotAllowed,
    ChatFull,
    ChatNotFound,
    CollectionNotFound,
    DocumentNotFound,
    RequestInProgress,
    ShuttingDown,
    TooBusy,
    *IDEMPOTENCY_ERRORS,
    *HOLD_REFUSED,
    *ANSWER_ERRORS,
)
"""Of everything that is answered."""


@router.post(
    "/chat",
    tags=["chat"],
    summary="Ask a question about the documents",
    response_model=AnswerView,
    responses=EVENTS,
)
@raises(ChatbotNotFound, MessageNotFound, *_REFUSALS)
@audited("chat.ask")
async def ask(body: AskBody, caller: Asker, held: Held, key: IdempotencyKey = None) -> Any:
    """Answer a question from the tenant's documents, with checked citations.

    The answer goes on when the client hangs up; it is kept in the chat. 429 `quota_exceeded` comes with the time at
    which the quota resets, before any model is called.
    """
    return await _answer(held, caller, body.to_question(), key, stream=body.stream)


@router.post(
    "/messages/{message_id}/regenerate",
    tags=["chat"],
    summary="Give an answer again",
    response_model=AnswerView,
    responses=EVENTS,
)
@raises(MessageNotFound, NotAnAnswer, *_REFUSALS)
@audited("chat.ask")
async def regenerate(
    message_id: MessagePath, caller: Asker, held: Held, body: AnotherAnswer | None = None, key: IdempotencyKey = None
) -> Any:
    """Answer the question of an answer once more, from the same documents; both stay, beside each other.

    It is what the chat shows from then on, and it is held, booked, resumed and stopped as any answer.
    """
    body = body or AnotherAnswer()
    return await _answer(held, caller, body.to_question(message_id), key, stream=body.stream)


@router.post(
    "/messages/{message_id}/edit",
    tags=["chat"],
    summary="Ask a question in other words",
    response_model=AnswerView,
    responses=EVENTS,
)
@raises(MessageNotFound, NotAQuestion, *_REFUSALS)
@audited("chat.ask")
async def edit(
    message_id: MessagePath, body: EditedQuestion, caller: Asker, held: Held, key: IdempotencyKey = None
) -> Any:
    """Ask another question in the place of one, of the same documents; both stay, beside each other.

    What was said before the first is the history of the second, and what the second begins is shown from then on.
    """
    return await _answer(held, caller, body.to_question(message_id), key, stream=body.stream)


async def _answer(held: Turns, caller: Caller, question: Question, key: str | None, *, stream: bool) -> Any:
    """Answer as one JSON object, or as server-sent events."""
    if not stream:
        return AnswerView.of(await (await held.asking.ask(caller, question, key=key)).result())
    turn_id = TurnId(uuid7())
    asking = asyncio.create_task(held.asking.ask(caller, question, key=key, attach=True, turn_id=turn_id))
    headers = {"X-Turn-ID": str(turn_id)}
    await asyncio.wait({asking}, timeout=held.asking.head_patience.total_seconds())
    excuse_act()  # its entry is written when it is settled
    if not asking.done():
        return EventStream(_late_events(asking, turn_id), headers=headers)
    answering = asking.result()
    headers = {"X-Turn-ID": str(answering.turn.id), "X-Chat-ID": str(answering.turn.chat_id)}
    return EventStream(answering.events(-1), headers=headers)


async def _late_events(asking: asyncio.Task[Answering], turn_id: TurnId) -> AsyncIterator[bytes]:
    """Yield the frames of a turn whose head went out while it was prepared."""
    try:
        answering = await asking
    except DocuChatError as error:
        yield refusal_frame(turn_id, error)
        return
    async for frames in answering.events(-1):
        yield frames


@router.post(
    "/turns/{turn_id}/stop",
    tags=["chat"],
    summary="Stop an answer",
    status_code=202,
)
@raises(TurnNotFound)
@audited("turn.stop")
async def stop_turn(turn_id: TurnPath, caller: Asker, held: Held) -> StoppedView:
    """Stop an answer that is being written, wherever it is; what was sent is kept, and only that is booked."""
    state = await held.replay.stop(caller, TurnId(turn_id))
    return StoppedView(turn_id=turn_id, state=state.value)


@router.get(
    "/turns/{turn_id}/events",
    tags=["chat"],
    summary="Resume the stream of an answer",
    response_class=Response,
    responses=EVENTS,
)
@raises(TurnNotFound)
async def resume_turn(
    turn_id: TurnPath,
    caller: Asker,
    held: Held,
    after: Annotated[
        int | None, Query(ge=0, le=2**31 - 1, description="`seq` of the last delta received; 0 for everything.")
    ] = None,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)] = None,
) -> Response:
    """Stream what follows delta `after`: no gap, no repeat, no second call of the model; finished turns too."""
    if after is None:
        after = int(last_event_id) if last_event_id is not None and last_event_id.isdecimal() else 0
    frames = await held.replay.resume(caller, TurnId(turn_id), after)
    return EventStream(frames, headers={"X-Turn-ID": str(turn_id)})
