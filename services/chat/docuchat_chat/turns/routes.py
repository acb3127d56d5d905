"""HTTP of turns."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Response

from docuchat_chat.attachments.errors import AttachmentNotFound
from docuchat_chat.chatbots.errors import ChatbotNotPublished
from docuchat_chat.conversations.errors import AnswerInProgress, NotAQuestion
from docuchat_chat.feedback.errors import MessageNotFound, NotAnAnswer
from docuchat_chat.turns.domain import Question
from docuchat_chat.turns.errors import TurnNotFound
from docuchat_chat.turns.responding import ANSWERS, ASKING_ERRORS, EVENTS, Held, Turns, respond
from docuchat_chat.turns.schemas import AnotherAnswer, AnswerView, AskBody, EditedQuestion, StoppedView
from docuchat_chat.turns.streaming import EventStream
from docuchat_common.audit import audited
from docuchat_common.contracts.chatbots import ChatbotNotFound
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import IdempotencyKey
from docuchat_common.http.json_body import TextRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.ids import TurnId
from docuchat_knowledge.collections.errors import CollectionNotFound
from docuchat_knowledge.documents.errors import DocumentNotFound

router = APIRouter(prefix="/v1", route_class=TextRoute)


Asker = Annotated[Caller, requires("chats.use")]
Follower = Annotated[Caller, requires("chats.follow")]
MessagePath = Annotated[UUID, Path(description="Id of a message of one's own.")]
TurnPath = Annotated[UUID, Path(description="Id of a turn, from `start` or from the answer.")]


_REFUSALS: Final = (
    *ASKING_ERRORS,
    AttachmentNotFound,
    ChatbotNotFound,
    ChatbotNotPublished,
    CollectionNotFound,
    DocumentNotFound,
)
"""Of everything that is answered."""


@router.post(
    "/chat",
    tags=["chat"],
    summary="Ask a question about the documents",
    response_model=AnswerView,
    responses=ANSWERS,
)
@raises(MessageNotFound, AnswerInProgress, *_REFUSALS)
@audited("chat.ask")
async def ask(body: AskBody, caller: Asker, held: Held, key: IdempotencyKey = None) -> Any:
    """Answer a question from the tenant's documents, with checked citations.

    The answer goes on when the client hangs up; it is kept in the chat. 429 `quota_exceeded` comes with the time at
    which the quota resets, before any model is called.
    """
    return await _answer(held, caller, body, body.to_question(), key)


@router.post(
    "/messages/{message_id}/regenerate",
    tags=["chat"],
    summary="Give an answer again",
    response_model=AnswerView,
    responses=ANSWERS,
)
@raises(MessageNotFound, AnswerInProgress, NotAnAnswer, *_REFUSALS)
@audited("chat.ask")
async def regenerate(
    message_id: MessagePath, caller: Asker, held: Held, body: AnotherAnswer | None = None, key: IdempotencyKey = None
) -> Any:
    """Answer the question of an answer once more, from the same documents; both stay, beside each other.

    It is what the chat shows from then on, and it is held, booked, resumed and stopped as any answer.
    """
    body = body or AnotherAnswer()
    return await _answer(held, caller, body, body.to_question(message_id), key)


@router.post(
    "/messages/{message_id}/edit",
    tags=["chat"],
    summary="Ask a question in other words",
    response_model=AnswerView,
    responses=ANSWERS,
)
@raises(MessageNotFound, AnswerInProgress, NotAQuestion, *_REFUSALS)
@audited("chat.ask")
async def edit(
    message_id: MessagePath, body: EditedQuestion, caller: Asker, held: Held, key: IdempotencyKey = None
) -> Any:
    """Ask another question in the place of one, of the same documents; both stay, beside each other.

    What was said before the first is the history of the second, and what the second begins is shown from then on.
    """
    return await _answer(held, caller, body, body.to_question(message_id), key)


@router.post(
    "/turns/{turn_id}/stop",
    tags=["chat"],
    summary="Stop an answer",
    status_code=202,
)
@raises(TurnNotFound)
@audited("turn.stop")
async def stop_turn(turn_id: TurnPath, caller: Follower, held: Held) -> StoppedView:
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
    caller: Follower,
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


async def _answer(
    held: Turns, caller: Caller, body: AskBody | AnotherAnswer | EditedQuestion, question: Question, key: str | None
) -> Any:
    return await respond(held, caller, question, key, stream=body.stream, present=AnswerView.of, detach=body.detach)
