"""The conversation over `WS /ws/chat` and over server-sent events: what a client sends, what it is sent.

Chat writes each frame as one server-sent event, whose name is the frame's type and whose data is one line of JSON. A
relay passes the data on as bytes and knows the end of a turn by the event's name. `id` is the client's own name for the
message that caused a frame; the relay adds it, since one frame is shared by all who follow a turn.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from uuid import UUID

import orjson
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, TypeAdapter
from pydantic_core import PydanticCustomError

from docuchat_common.errors import DocuChatError

LAST_FRAMES: Final = frozenset({b"end", b"error"})
"""Names of the events after which a turn has no more."""
MOST_DOCUMENTS: Final = 100

FinishReason = Literal["stop", "length", "content_filter", "stopped", "no_sources", "no_citations", "conversational"]
"""Why an answer ended: whole, cut at its limit, cut by a filter (the provider's, or the product's own where an answer
repeats its instructions), stopped, nothing to answer from, cited nothing where the chatbot asks for citations, so that
something else was said, or small talk that needs no document."""
SearchedAs = Annotated[
    str | None,
    Field(description="What was searched for a question that needs those before it; left out when it is the question."),
]


def _as_text(value: object) -> object:
    """Take a whole number as a session_id, as the first clients sent it; a boolean is none."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _some(value: object) -> object:
    """Refuse an empty list: whoever chose none does not mean all."""
    if value == []:
        raise PydanticCustomError(
            "too_short", "Name at least one document, or leave the field out to ask about all of them."
        )
    return value


SessionId = Annotated[
    str, BeforeValidator(_as_text, json_schema_input_type=str | int), Field(min_length=1, max_length=200)
]
DocumentIds = Annotated[list[UUID], Field(min_length=1, max_length=MOST_DOCUMENTS), BeforeValidator(_some)]
MessageId = Annotated[str, Field(min_length=1, max_length=100, description="The client's own name for this message.")]


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AskMessage(_Sent):
    """A question."""

    id: MessageId | None = None
    message: str = Field(description="The question. Up to MAX_MESSAGE_CHARS characters.")
    session_id: SessionId | None = Field(
        default=None,
        description="Any name of the client's choice (text or number): questions of one session share one chat, with "
        "each chatbot another. The id of an own chat means that chat.",
    )
    chat_id: UUID | None = Field(default=None, description="An existing chat; goes before `session_id`.")
    parent_id: UUID | None = Field(
        default=None,
        description="A message of an own chat that the question follows; without it the end of what is shown.",
    )
    chatbot_id: UUID | None = Field(default=None, description="The chatbot that is asked.")
    model: str | None = Field(default=None, max_length=200, description="One of ALLOWED_MODELS; the default without.")
    documents: DocumentIds | None = Field(
        default=None,
        validation_alias=AliasChoices("documents", "document_ids"),
        description="Answer from these documents only. Also taken as `document_ids`.",
    )
    collection_id: UUID | None = Field(default=None, description="Answer from this collection only.")
    attachments: list[UUID] = Field(
        default=[],
        max_length=10,
        description="Own files of `POST /v1/attachments`, which this and later answers of the chat rest on as well.",
    )


class ResumeMessage(_Sent):
    """Follow a turn: what comes after delta `after`."""

    id: MessageId | None = None
    resume: UUID
    after: Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)] = 0


class StopMessage(_Sent):
    """End a running turn; what was sent of it is kept.

    Nothing answers it but the turn's own `end`, whose `finish_reason` is `stopped`, to all who follow the turn; of a
    turn that is over nothing comes, and `error` with `turn_not_found` when there is no such turn.
    """

    id: MessageId | None = None
    stop: UUID


ClientMessage = AskMessage | ResumeMessage | StopMessage
CLIENT_MESSAGE: Final[TypeAdapter[ClientMessage]] = TypeAdapter(ClientMessage)


class _Frame(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str | None = Field(default=None, description="The `id` of the client's message that caused this frame.")


class SourceReference(BaseModel):
    """A passage that the answer may rest on, under the number that the answer cites."""

    number: int
    chunk_id: UUID
    document_id: UUID
    title: str
    filename: str
    page: int | None = Field(description="Counts from 1.")
    page_to: int | None
    score: float
    deleted: bool = Field(
        default=False,
        description="Whether the document is no longer available: deleted, or not the reader's to see any more. Title, "
        "file name and quote are empty then.",
    )


class CitationReference(SourceReference):
    """A checked citation; `number` is the [n] in the text."""

    quote: str = Field(description="The sentence that the statement rests on.")


class TurnUsage(BaseModel):
    """Tokens of one model call."""

    input_tokens: NonNegativeInt
    output_tokens: NonNegativeInt
    total_tokens: NonNegativeInt
    estimated: bool = Field(
        description="True when the provider's own figure never came, or could not be, and we counted."
    )


class FallbackReference(BaseModel):
    """Why another model answered than the one that was asked."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True)

    asked: str = Field(alias="from", description="The model that was asked first.")
    reason: str = Field(
        description="`provider_down` when its provider was known to be and was not asked, else the code of its failure "
        "before the first token: `provider_rate_limited`, `provider_error`, `provider_timeout` or "
        "`provider_interrupted`."
    )


class StartFrame(_Frame):
    """A turn began."""

    type: Literal["start"]
    turn_id: UUID
    chat_id: UUID
    session_id: str
    user_message_id: UUID | None = Field(default=None, description="The question.")
    message_id: UUID
    model: str = Field(description="The model that is asked first; `end` names the one that answered.")
    chatbot_id: UUID | None = Field(default=None, description="The chatbot that answers, if one does.")
    chatbot_version: int | None = Field(default=None, ge=0, description="Which version of it: from 1; 0 is its draft.")


class SourcesFrame(_Frame):
    """What the answer is made from, sent before it."""

    type: Literal["sources"]
    turn_id: UUID
    sources: list[SourceReference]
    notice: str | None = Field(default=None, description="What the reader should know about the search, if anything.")


class DeltaFrame(_Frame):
    """What arrived of the answer at once."""

    type: Literal["delta"]
    turn_id: UUID
    seq: int = Field(ge=1, description="Counts from 1, without gaps.")
    token: str


class EndFrame(_Frame):
    """The turn ended well, or was stopped."""

    type: Literal["end"]
    turn_id: UUID
    seq: int = Field(ge=1, description="One more than the number of deltas.")
    message_id: UUID
    finish_reason: FinishReason
    model: str | None = Field(default=None, description="The model that answered.")
    fallback: FallbackReference | None = Field(default=None, description="Set where that is not the one asked first.")
    searched_as: SearchedAs = None
    usage: TurnUsage
    citations: list[CitationReference]
    not_cited: list[int] = Field(description="Numbers in the answer that point at nothing that was retrieved.")
    own_knowledge: list[str] = Field(
        default=[],
        description="The sentences that rest on no document, where a chatbot may say such; each ends with † there.",
    )


class ErrorFrame(_Frame):
    """A turn ended badly, or a message could not be taken.

    With `seq` the turn is over: it is one more than the number of deltas that were kept. Without `seq` only this
    connection is at an end, and the turn, if `turn_id` is there, can be resumed.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    type: Literal["error"]
    code: str
    message: str
    turn_id: UUID | None = None
    seq: int | None = Field(default=None, ge=1)
    message_id: UUID | None = None
    status: Literal["interrupted", "failed"] | None = None
    retry_after: int | None = Field(default=None, ge=0, description="Seconds.")


ServerFrame = Annotated[StartFrame | SourcesFrame | DeltaFrame | EndFrame | ErrorFrame, Field(discriminator="type")]
SERVER_FRAME: Final[TypeAdapter[ServerFrame]] = TypeAdapter(ServerFrame)


def error_frame(error: DocuChatError, **more: Any) -> ErrorFrame:
    """An error as it stands in event streams and on the WebSocket, with what it says beside its code."""
    fields = {"type": "error", "code": error.code, "message": error.detail, **more}
    if error.retry_after is not None:
        fields["retry_after"] = max(1, round(error.retry_after.total_seconds()))
    return ErrorFrame(**error.extensions | fields)


def dump_frame(frame: _Frame) -> bytes:
    """The JSON of a frame: what was given, in the order of the contract; a field that was not given is left out."""
    return frame.model_dump_json(exclude_unset=True, fallback=str).encode()


def write_frame(frame: ServerFrame, seq: int | None = None) -> bytes:
    """One server-sent event, named by the frame's type; `seq` becomes its `id`, with which a browser resumes."""
    return write_event(frame.type.encode(), dump_frame(frame), seq)


def write_event(name: bytes, data: bytes, seq: int | None = None) -> bytes:
    """One server-sent event of JSON that is there already."""
    if seq is None:
        return b"event: %b\ndata: %b\n\n" % (name, data)
    return b"event: %b\nid: %d\ndata: %b\n\n" % (name, seq, data)


class EventReader:
    """Splits a stream of server-sent events, as chat writes them, into names and data, without parsing the data."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        """The (name, data) of the events that are whole by now; comments are left out."""
        *blocks, self._rest = (self._rest + chunk if self._rest else chunk).split(b"\n\n")
        events = []
        for block in blocks:
            name, data = b"message", None
            for line in block.split(b"\n"):
                if line.startswith(b"data: "):
                    data = line[6:]
                elif line.startswith(b"event: "):
                    name = line[7:]
            if data is not None:
                events.append((name, data))
        return events


def with_message_id(data: bytes, message_id: str) -> bytes:
    """The JSON object `data` with the client's `id` for its message in front."""
    return b'{"id":%b,%b' % (orjson.dumps(message_id), data[1:])


def frame_schemas() -> dict[str, dict[str, Any]]:
    """JSON schemas of what is sent (`ClientMessage`) and received (`ServerFrame`), for the OpenAPI document."""
    template = "#/components/schemas/{model}"
    return {
        "ClientMessage": CLIENT_MESSAGE.json_schema(ref_template=template),
        "ServerFrame": SERVER_FRAME.json_schema(ref_template=template),
    }
