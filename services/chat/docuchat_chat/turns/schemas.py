"""Requests and responses about turns."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from docuchat_chat.answers.schemas import UsageView
from docuchat_chat.conversations.schemas import MessageView
from docuchat_chat.turns.answering import Answer
from docuchat_chat.turns.preparation import AskRequest
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
