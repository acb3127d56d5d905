"""Answers as chat completions: whole, or chunk by chunk while they are written.

A chunk is laid together around the text that arrived, so that it costs no more than a frame of the product's own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import orjson

from docuchat_chat.openai_api.refusals import as_refusal, error_object
from docuchat_chat.openai_api.schemas import (
    AnswerDetails,
    ChatCompletion,
    CompletionChoice,
    CompletionMessage,
    CompletionUsage,
    finish_of,
)
from docuchat_chat.turns.answering import Answer, Answering
from docuchat_chat.turns.domain import Turn
from docuchat_common.errors import DocuChatError
from docuchat_common.ids import TurnId

_DONE: Final = b"data: [DONE]\n\n"


def id_of(turn: Turn) -> str:
    """Return the name of a completion."""
    return f"chatcmpl-{turn.id.hex}"


def _name_in(turn: Turn, asked: str) -> str:
    """Return what answers: what was asked, a model that stands by, or the chatbot, whoever answers for it."""
    return asked if turn.fallback is None or turn.chatbot_id is not None else turn.model


def completion_of(answer: Answer, model: str) -> ChatCompletion:
    """Return a whole answer of what was asked by the name `model`."""
    details = AnswerDetails.of(answer)
    choice = CompletionChoice(
        message=CompletionMessage(content=answer.message.content), finish_reason=finish_of(details.finish_reason)
    )
    return ChatCompletion(
        id=id_of(answer.turn),
        created=int(answer.turn.created_at.timestamp()),
        model=_name_in(answer.turn, model),
        choices=[choice],
        usage=CompletionUsage.of(answer),
        docuchat=details,
    )


class CompletionFrames:
    """Writes a turn as chunks."""

    def __init__(self, model: str, *, include_usage: bool, ends_with_reader: bool) -> None:
        """`model`: the name by which it was asked. `ends_with_reader`: nobody else will read what is written.

        To hang up is how their clients stop an answer.
        """
        self._model = model
        self._include_usage = include_usage
        self._ends_with_reader = ends_with_reader

    async def of(self, answering: Answering) -> AsyncIterator[bytes]:
        """Yield the chunks of a turn, from the role to `[DONE]`; after what ended it otherwise comes nothing more."""
        is_read = False
        try:
            async for chunks in self._chunks(answering):
                yield chunks
            is_read = True
        finally:
            if not is_read and self._ends_with_reader:
                answering.stop()

    async def _chunks(self, answering: Answering) -> AsyncIterator[bytes]:
        head = self._head(answering.turn)
        unused = b',"usage":null' if self._include_usage else b""
        end = b'},"logprobs":null,"finish_reason":null}]%b}\n\n' % unused
        begin = b'data: %b,"choices":[{"index":0,"delta":{"content":' % head
        yield b'data: %b,"choices":[{"index":0,"delta":{"role":"assistant","content":""%b' % (head, end)
        async for texts in answering.texts():
            yield b"".join([b"%b%b%b" % (begin, orjson.dumps(text), end) for text in texts])
        try:
            answer = await answering.result()
        except DocuChatError as error:
            yield _told(error)
            return
        yield self._ending(self._head(answer.turn), answer) + _DONE

    def of_refusal(self, turn_id: TurnId, error: DocuChatError) -> bytes:
        """Return all that is sent of a turn that never began."""
        return _told(as_refusal(error))

    def _head(self, turn: Turn) -> bytes:
        fields = {
            "id": id_of(turn),
            "object": "chat.completion.chunk",
            "created": int(turn.created_at.timestamp()),
            "model": _name_in(turn, self._model),
        }
        return orjson.dumps(fields)[:-1]

    def _ending(self, head: bytes, answer: Answer) -> bytes:
        details = AnswerDetails.of(answer)
        choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": finish_of(details.finish_reason)}
        last: dict[str, Any] = {"choices": [choice]}
        if self._include_usage:
            last["usage"] = None
        last["docuchat"] = details.model_dump(mode="json")
        chunks = [last]
        if self._include_usage:
            chunks.append({"choices": [], "usage": CompletionUsage.of(answer).model_dump()})
        return b"".join(b"data: %b,%b\n\n" % (head, orjson.dumps(chunk)[1:]) for chunk in chunks)


def _told(error: DocuChatError) -> bytes:
    return b"data: %b\n\n" % orjson.dumps({"error": error_object(error)}, default=str)
