"""Requests and responses of the chat service."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, field_validator

from docuchat_chat.domain.model import Chat, Citation, Message, Passage
from docuchat_chat.domain.text import PAGE_BREAK
from docuchat_chat.service.answering import Answer
from docuchat_chat.service.asking import AskRequest
from docuchat_common.ids import ChatId, CollectionId, DocumentId
from docuchat_models.chat import TokenUsage


def _as_text(value: object) -> object:
    """Take a whole number as a session_id, as the first clients sent it; a boolean is none."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


SessionId = Annotated[
    str,
    BeforeValidator(_as_text, json_schema_input_type=str | int),
    Field(min_length=1, max_length=200),
]


class AskBody(BaseModel):
    """A question."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"message": "How long is the warranty?", "session_id": 123, "stream": False}]}
    )

    message: str = Field(description="The question. Up to MAX_MESSAGE_CHARS characters.")
    session_id: SessionId | None = Field(
        default=None,
        description="Any name of the client's choice (text or number): questions of one session share one chat. "
        "The id of an own chat means that chat.",
    )
    chat_id: UUID | None = Field(default=None, description="An existing chat; goes before `session_id`.")
    model: str | None = Field(default=None, max_length=200, description="One of ALLOWED_MODELS; the default without.")
    document_ids: list[UUID] | None = Field(
        default=None, max_length=100, description="Answer from these documents only."
    )
    collection_id: UUID | None = Field(default=None, description="Answer from this collection only.")
    stream: bool = Field(default=False, description="Answer as server-sent events instead of one JSON object.")

    def to_request(self) -> AskRequest:
        """Return the use case's request."""
        return AskRequest(
            message=self.message,
            session_id=self.session_id,
            chat_id=ChatId(self.chat_id) if self.chat_id is not None else None,
            model=self.model,
            document_ids=tuple(map(DocumentId, self.document_ids)) if self.document_ids else None,
            collection_id=CollectionId(self.collection_id) if self.collection_id is not None else None,
        )


class UsageView(BaseModel):
    """Tokens of one model call."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    estimated: bool = Field(description="True when the provider's own figure never came and we counted.")

    @classmethod
    def of(cls, usage: TokenUsage) -> UsageView:
        """Present."""
        return cls(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            total_tokens=usage.total_tokens,
            estimated=usage.estimated,
        )


class CitationView(BaseModel):
    """A reference that was checked against what was retrieved; `number` is the [n] in the text."""

    number: int
    chunk_id: UUID
    document_id: UUID
    title: str
    filename: str
    page: int | None = Field(description="Counts from 1.")
    page_to: int | None
    quote: str = Field(description="The sentence of the document that the statement rests on.")
    score: float

    @classmethod
    def of(cls, citation: Citation) -> CitationView:
        """Present."""
        return cls(
            number=citation.number,
            chunk_id=citation.chunk_id,
            document_id=citation.document_id,
            title=citation.title,
            filename=citation.filename,
            page=citation.page,
            page_to=citation.page_to,
            quote=citation.quote,
            score=citation.score,
        )


class MessageView(BaseModel):
    """A message of a chat."""

    id: UUID
    chat_id: UUID
    role: Literal["user", "assistant"]
    content: str
    citations: list[CitationView]
    usage: UsageView | None
    model: str | None
    status: Literal["complete", "interrupted", "stopped", "failed"]
    metadata: dict[str, Any]
    created_at: datetime

    @classmethod
    def of(cls, message: Message) -> MessageView:
        """Present."""
        return cls(
            id=message.id,
            chat_id=message.chat_id,
            role="user" if message.role == "user" else "assistant",
            content=message.content,
            citations=[CitationView.of(citation) for citation in message.citations],
            usage=UsageView.of(message.usage) if message.usage is not None else None,
            model=message.model,
            status=message.status.value,
            metadata=message.metadata,
            created_at=message.created_at,
        )


class AnswerView(BaseModel):
    """A whole answer."""

    chat_id: UUID
    session_id: str
    turn_id: UUID
    message: MessageView
    usage: UsageView
    model: str
    finish_reason: str = Field(
        description="`stop`, `length`, `stopped` (by the user) or `no_sources` (nothing to answer from)."
    )

    @classmethod
    def of(cls, answer: Answer) -> AnswerView:
        """Present."""
        message = answer.message
        return cls(
            chat_id=answer.turn.chat_id,
            session_id=answer.turn.session_id,
            turn_id=answer.turn.id,
            message=MessageView.of(message),
            usage=UsageView.of(message.usage or TokenUsage(0, 0)),
            model=answer.turn.model,
            finish_reason=message.metadata.get("finish_reason", "stop"),
        )


class StoppedView(BaseModel):
    """What stopping met."""

    turn_id: UUID
    state: Literal["running", "completed", "stopped", "interrupted", "failed"] = Field(
        description="The state that the turn was found in; `running` means that it is being stopped."
    )


class ChatView(BaseModel):
    """A chat."""

    id: UUID
    session_id: str = Field(description="The name that the client chose, else the chat's id.")
    title: str | None
    created_at: datetime
    updated_at: datetime
    message_count: int

    @classmethod
    def of(cls, chat: Chat) -> ChatView:
        """Present."""
        return cls(
            id=chat.id,
            session_id=chat.session_id,
            title=chat.title,
            created_at=chat.created_at,
            updated_at=chat.updated_at,
            message_count=chat.message_count,
        )


class ChatWithMessages(ChatView):
    """A chat with a page of its messages, in order of time."""

    messages: list[MessageView]
    next_cursor: str | None = Field(description="Send as `cursor` for the next messages; null on the last page.")


def _readable(title: str | None) -> str | None:
    if title is not None and not title.replace("\x00", "").strip():
        raise ValueError("the title is empty")
    return title


class NewChat(BaseModel):
    """A chat to create."""

    title: str | None = Field(default=None, max_length=200)

    _title = field_validator("title")(_readable)


class RenameChat(BaseModel):
    """Another title."""

    title: str = Field(min_length=1, max_length=200)

    _title = field_validator("title")(_readable)


class NewMessage(BaseModel):
    """A user's message that is stored without being answered."""

    chat_id: UUID
    content: str = Field(min_length=1, max_length=16_000)
    metadata: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("metadata")
    @classmethod
    def _small(cls, metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
        text = json.dumps(metadata)
        if len(text) > 8000:
            raise ValueError("the metadata is longer than 8000 characters")
        if "\\u0000" in text:
            raise ValueError("the metadata holds a NUL character")
        return metadata


class FoundPassage(BaseModel):
    """A passage that search found; ranks count from 1, null where that leg did not find it."""

    chunk_id: UUID
    document_id: UUID
    title: str
    page: int | None
    page_to: int | None
    text: str
    score: float
    vector_rank: int | None
    text_rank: int | None

    @classmethod
    def of(cls, passage: Passage) -> FoundPassage:
        """Present."""
        return cls(
            chunk_id=passage.chunk_id,
            document_id=passage.document_id,
            title=passage.title,
            page=passage.page,
            page_to=passage.page_to,
            text=passage.text.replace(PAGE_BREAK, "\n"),
            score=passage.score,
            vector_rank=passage.vector_rank,
            text_rank=passage.text_rank,
        )


class SearchView(BaseModel):
    """What a question would be answered from, best first."""

    results: list[FoundPassage]
