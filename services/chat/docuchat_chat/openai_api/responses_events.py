"""Answers as the typed events of a response.

An event's number is its place, and depends on nothing but the turn: 0 to 3 open the response, its answer and the text,
4 to n + 3 are the n deltas, then follow the citations, and what closes text, answer and response. Who comes back is
told the same events with the same numbers, and no model is asked again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Final

import orjson

from docuchat_chat.openai_api.refusals import as_refusal, error_object
from docuchat_chat.openai_api.responses import Given, answer_item_of
from docuchat_chat.openai_api.responses_views import OutputMessage, OutputText, ResponseView, message_of
from docuchat_chat.turns.answering import Answering, Followed
from docuchat_chat.turns.domain import Turn
from docuchat_common.contracts.frames import write_event
from docuchat_common.errors import DocuChatError
from docuchat_common.ids import TurnId

_OPENING: Final = 4
"""Events before the first delta."""
_ENDINGS: Final = {"completed": "response.completed", "failed": "response.failed"}
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
        begin, end = _delta(turn)
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
            yield _lifecycle("response.failed", failed, number)
            return
        closing = _closing(message_of(answer), ResponseView.of(answer, self._given), number)
        yield b"".join(closing[min(max(after + 1 - number, 0), len(closing) - 1) :])

    def of_refusal(self, turn_id: TurnId, error: DocuChatError) -> bytes:
        """Return all that is sent of a turn that never began: an `error`, which clients raise."""
        told = error_object(as_refusal(error))
        fields = {"type": "error", **{name: told.get(name) for name in ("code", "message", "param")}, "error": told}
        return write_event(b"error", orjson.dumps({**fields, "sequence_number": 0}, default=str))

    def _opening(self, turn: Turn) -> list[bytes]:
        response = ResponseView.begun(turn, self._given)
        message = OutputMessage(id=answer_item_of(turn), status="in_progress", content=[])
        return [
            _lifecycle("response.created", response, 0),
            _lifecycle("response.in_progress", response, 1),
            _event("response.output_item.added", {"output_index": 0, "item": message.model_dump(mode="json")}, 2),
            _event(
                "response.content_part.added",
                {**_place(turn), "part": OutputText(text="", annotations=[]).model_dump(mode="json")},
                3,
            ),
        ]


def _closing(message: OutputMessage, response: ResponseView, first: int) -> list[bytes]:
    (part,) = message.content
    place = {"item_id": message.id, "output_index": 0, "content_index": 0}
    whole = part.model_dump(mode="json")
    events: list[tuple[str, Mapping[str, Any]]] = [
        ("response.output_text.annotation.added", {**place, "annotation_index": index, "annotation": annotation})
        for index, annotation in enumerate(whole["annotations"])
    ]
    events += [
        ("response.output_text.done", {**place, "text": part.text, "logprobs": []}),
        ("response.content_part.done", {**place, "part": whole}),
        ("response.output_item.done", {"output_index": 0, "item": message.model_dump(mode="json")}),
    ]
    written = [_event(name, fields, number) for number, (name, fields) in enumerate(events, first)]
    ending = _ENDINGS.get(response.status, "response.incomplete")
    return [*written, _lifecycle(ending, response, first + len(written))]


def _place(turn: Turn) -> dict[str, Any]:
    return {"item_id": answer_item_of(turn), "output_index": 0, "content_index": 0}


def _delta(turn: Turn) -> tuple[bytes, bytes]:
    """Return what stands before and behind the text of each delta."""
    name = b"response.output_text.delta"
    head = orjson.dumps({"type": name.decode(), **_place(turn), "logprobs": []})
    return b'event: %b\ndata: %b,"delta":' % (name, head[:-1]), b',"sequence_number":'


def _lifecycle(name: str, response: ResponseView, number: int) -> bytes:
    return _event(name, {"response": response.model_dump(mode="json")}, number)


def _event(name: str, fields: Mapping[str, Any], number: int) -> bytes:
    return write_event(name.encode(), orjson.dumps({"type": name, **fields, "sequence_number": number}))
