"""The events of a streamed response, as they are written and as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter

from docuchat_chat.openai_api.responses_views import FileCitation, OutputMessage, OutputText, ResponseView
from docuchat_common.contracts.frames import write_event
from docuchat_common.contracts.openai_errors import ResponseErrorEvent

SequenceNumber = Annotated[
    NonNegativeInt, Field(description="Counts from 0; `GET /v1/responses/{response_id}` goes on behind it.")
]


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True)


class ResponseStateEvent(_Event):
    """A response begins, or ends: `completed`, `incomplete` (cut, or cancelled) or `failed`."""

    type: Literal[
        "response.created", "response.in_progress", "response.completed", "response.incomplete", "response.failed"
    ]
    response: ResponseView
    sequence_number: SequenceNumber


class OutputItemEvent(_Event):
    """The answer begins, or is whole."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    output_index: Literal[0] = 0
    item: OutputMessage
    sequence_number: SequenceNumber


class _TextEvent(_Event):
    type: str
    item_id: str
    output_index: Literal[0] = 0
    content_index: Literal[0] = 0


class ContentPartEvent(_TextEvent):
    """The text of the answer begins, or is whole."""

    type: Literal["response.content_part.added", "response.content_part.done"]
    part: OutputText
    sequence_number: SequenceNumber


class TextDeltaEvent(_TextEvent):
    """A piece of the text."""

    type: Literal["response.output_text.delta"]
    logprobs: list[Any] = Field(default=[], max_length=0)
    delta: str
    sequence_number: SequenceNumber


class AnnotationEvent(_TextEvent):
    """A place of the text that cites."""

    type: Literal["response.output_text.annotation.added"]
    annotation_index: NonNegativeInt
    annotation: FileCitation
    sequence_number: SequenceNumber


class TextDoneEvent(_TextEvent):
    """The whole text."""

    type: Literal["response.output_text.done"]
    text: str
    logprobs: list[Any] = Field(default=[], max_length=0)
    sequence_number: SequenceNumber


WrittenEvent = (
    ResponseStateEvent | OutputItemEvent | ContentPartEvent | TextDeltaEvent | AnnotationEvent | TextDoneEvent
)
ResponseEvent = Annotated[WrittenEvent | ResponseErrorEvent, Field(discriminator="type")]
RESPONSE_EVENT: Final[TypeAdapter[ResponseEvent]] = TypeAdapter(ResponseEvent)


def write(event: WrittenEvent | ResponseErrorEvent) -> bytes:
    """Return one server-sent event, named by its type."""
    return write_event(event.type.encode(), event.model_dump_json(fallback=str).encode())


def around_delta(item_id: str) -> tuple[bytes, bytes]:
    """Return what stands before and behind the text of each delta: behind comes its number, then `}`."""
    empty = write(TextDeltaEvent(type="response.output_text.delta", item_id=item_id, delta="", sequence_number=0))
    before, after = empty.split(b'""')
    return before, after.removesuffix(b"0}\n\n")
