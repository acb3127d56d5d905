"""Answers as the typed events of a response.

An event's number is its place, and depends on nothing but the turn: 0 to 3 open the response, its answer and the text,
4 to n + 3 are the n deltas, then follow the citations, and what closes text, answer and response. Who comes back is
told the same events with the same numbers, and no model is asked again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Final, Literal

import orjson

from docuchat_chat.openai_api.refusals import as_refusal, error_object
from docuchat_chat.openai_api.responses import Given, answer_item_of
from docuchat_chat.openai_api.responses_stream import (
    AnnotationEvent,
    ContentPartEvent,
    OutputItemEvent,
    ResponseStateEvent,
    TextDoneEvent,
    WrittenEvent,
    around_delta,
    write,
)
from docuchat_chat.openai_api.responses_views import OutputMessage, OutputText, ResponseView, message_of
from docuchat_chat.turns.answering import Answering, Followed
from docuchat_chat.turns.domain import Turn
from docuchat_common.contracts.openai_errors import ResponseErrorEvent
from docuchat_common.errors import DocuChatError
from docuchat_common.ids import TurnId

_OPENING: Final = 4
"""Events before the first delta."""
_Ending = Literal["response.completed", "response.incomplete", "response.failed"]
_ENDINGS: Final[Mapping[str, _Ending]] = {
    "completed": "response.completed",
    "failed": "response.failed",
}
"""What else ends a response is `response.incomplete`."""


class ResponseEvents:
    """Writes a turn as the events of a response."""

    def __init__(self, given: Given, after: int = -1) -> None:
        """`after`: the number of the last event that the reader has."""
        self._given = given
        self._after = after

    async def of(self, answering: Answering) -> AsyncGenerator[bytes, None]:
        """Yield all events of a turn; one that is not stored ends with its reader, since nobody else will read it."""
        is_read = False
        try:
            async for events in self.following(answering):
                yield events
            is_read = True
        finally:
            if not is_read and not self._given.store:
                answering.stop()

    async def following(self, answering: Followed) -> AsyncIterator[bytes]:
        """Yield the events of a turn behind the last that the reader has."""
        turn, after = answering.turn, self._after
        opening = self._opening(turn)[after + 1 :]
        if opening:
            yield b"".join(opening)
        begin, end = around_delta(answer_item_of(turn))
        pieces: list[str] = []
        number = _OPENING
        try:
            async for texts in answering.texts():
                pieces += texts
                first, number = number, number + len(texts)
                if number > after + 1:
                    skipped = max(after + 1 - first, 0)
                    numbered = enumerate(texts[skipped:], first + skipped)
                    yield b"".join([b"%b%b%b%d}\n\n" % (begin, orjson.dumps(text), end, seq) for seq, text in numbered])
            answer = await answering.result()
        except DocuChatError as error:
            failed = ResponseView.failed(turn, "".join(pieces), error, self._given)
            yield write(ResponseStateEvent(type="response.failed", response=failed, sequence_number=number))
            return
        closing = _closing(message_of(answer), ResponseView.of(answer, self._given), number)
        yield b"".join(closing[min(max(after + 1 - number, 0), len(closing) - 1) :])

    def of_refusal(self, turn_id: TurnId, error: DocuChatError) -> bytes:
        """Return all that is sent of a turn that never began: an `error`, which clients raise."""
        return write(ResponseErrorEvent.of(error_object(as_refusal(error)), 0))

    def _opening(self, turn: Turn) -> list[bytes]:
        response = ResponseView.begun(turn, self._given)
        item = OutputMessage(id=answer_item_of(turn), status="in_progress", content=[])
        part = OutputText(text="", annotations=[])
        events: list[WrittenEvent] = [
            ResponseStateEvent(type="response.created", response=response, sequence_number=0),
            ResponseStateEvent(type="response.in_progress", response=response, sequence_number=1),
            OutputItemEvent(type="response.output_item.added", item=item, sequence_number=2),
            ContentPartEvent(type="response.content_part.added", item_id=item.id, part=part, sequence_number=3),
        ]
        return [write(event) for event in events]


def _closing(item: OutputMessage, response: ResponseView, first: int) -> list[bytes]:
    (part,) = item.content
    number = first + len(part.annotations)
    events: list[WrittenEvent] = [
        AnnotationEvent(
            type="response.output_text.annotation.added",
            item_id=item.id,
            annotation_index=index,
            annotation=annotation,
            sequence_number=first + index,
        )
        for index, annotation in enumerate(part.annotations)
    ]
    ending = _ENDINGS.get(response.status, "response.incomplete")
    events += [
        TextDoneEvent(type="response.output_text.done", item_id=item.id, text=part.text, sequence_number=number),
        ContentPartEvent(type="response.content_part.done", item_id=item.id, part=part, sequence_number=number + 1),
        OutputItemEvent(type="response.output_item.done", item=item, sequence_number=number + 2),
        ResponseStateEvent(type=ending, response=response, sequence_number=number + 3),
    ]
    return [write(event) for event in events]
