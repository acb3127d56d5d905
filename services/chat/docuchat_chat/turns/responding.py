"""How routes that ask answer: whole as JSON, or as a stream of server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol

from starlette.responses import JSONResponse

from docuchat_chat.answers.errors import MessageEmpty, ModelNotAllowed
from docuchat_chat.conversations.errors import ChatFull, ChatNotFound, ChatOfAnotherChatbot, MessageTooLong
from docuchat_chat.turns.answering import Answer, Answering
from docuchat_chat.turns.asking import AskService
from docuchat_chat.turns.domain import Question
from docuchat_chat.turns.errors import ANSWER_ERRORS, RequestInProgress, ShuttingDown, TooBusy
from docuchat_chat.turns.frames import refusal_frame
from docuchat_chat.turns.replay import ReplayService
from docuchat_chat.turns.schemas import BegunView
from docuchat_chat.turns.streaming import EventStream
from docuchat_common.acts import excuse_act
from docuchat_common.contracts.holds import HOLD_REFUSED
from docuchat_common.errors import DocuChatError
from docuchat_common.http.caller import Caller
from docuchat_common.http.problems import Responses
from docuchat_common.http.provided import provided
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS
from docuchat_common.ids import TurnId, uuid7

ASKING_ERRORS: Final[tuple[type[DocuChatError], ...]] = (
    MessageEmpty,
    MessageTooLong,
    ModelNotAllowed,
    ChatFull,
    ChatNotFound,
    ChatOfAnotherChatbot,
    RequestInProgress,
    ShuttingDown,
    TooBusy,
    *IDEMPOTENCY_ERRORS,
    *HOLD_REFUSED,
    *ANSWER_ERRORS,
)
"""What any question may end with."""

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


ANSWERS: Final[Responses] = EVENTS | {
    202: {"model": BegunView, "description": "With `detach: true`: the answer is being written."}
}


@dataclass(frozen=True, slots=True)
class Turns:
    """What the routes of turns use of the container."""

    asking: AskService
    replay: ReplayService


Held = Annotated[Turns, provided("turns")]


class OwnFrames:
    """Writes a turn as the product's own frames, which all who follow it share."""

    def of(self, answering: Answering) -> AsyncIterator[bytes]:
        """Return the frames of a turn, from its opening to its end."""
        return answering.events(-1)

    def of_refusal(self, turn_id: TurnId, error: DocuChatError) -> bytes:
        """Return all that is sent of a turn that never began."""
        return refusal_frame(turn_id, error)


class Frames(Protocol):
    """How a turn is written as server-sent events; each protocol has its own way."""

    def of(self, answering: Answering) -> AsyncIterator[bytes]:
        """Return the frames of a turn, from its opening to its end."""
        ...

    def of_refusal(self, turn_id: TurnId, error: DocuChatError) -> bytes:
        """Return all that is sent of a turn that never began, once the stream's head is out."""
        ...


OWN_FRAMES: Final = OwnFrames()


async def respond(
    held: Turns,
    caller: Caller,
    question: Question,
    key: str | None,
    *,
    stream: bool,
    address: str = "",
    present: Callable[[Answer], Any],
    detach: bool = False,
    frames: Frames = OWN_FRAMES,
) -> Any:
    """Ask; answer with what `present` makes of the answer, with a stream of its frames, or at once with its turn."""
    if detach:
        answering = await held.asking.ask(caller, question, key=key, attach=True)
        excuse_act()  # its entry is written when it is settled
        begun = BegunView(turn_id=answering.turn.id, chat_id=answering.turn.chat_id)
        return JSONResponse(begun.model_dump(mode="json"), 202)
    if not stream:
        return present(await (await held.asking.ask(caller, question, key=key, address=address)).result())
    turn_id = TurnId(uuid7())
    asking = asyncio.create_task(
        held.asking.ask(caller, question, key=key, attach=True, turn_id=turn_id, address=address)
    )
    headers = {"X-Turn-ID": str(turn_id)}
    await asyncio.wait({asking}, timeout=held.asking.head_patience.total_seconds())
    excuse_act()  # its entry is written when it is settled
    if not asking.done():
        return EventStream(_late_events(asking, turn_id, frames), headers=headers)
    answering = asking.result()
    headers = {"X-Turn-ID": str(answering.turn.id), "X-Chat-ID": str(answering.turn.chat_id)}
    return EventStream(frames.of(answering), headers=headers)


async def _late_events(asking: asyncio.Task[Answering], turn_id: TurnId, frames: Frames) -> AsyncIterator[bytes]:
    """Yield the frames of a turn whose head went out while it was prepared."""
    try:
        answering = await asking
    except DocuChatError as error:
        yield frames.of_refusal(turn_id, error)
        return
    async for batch in frames.of(answering):
        yield batch
