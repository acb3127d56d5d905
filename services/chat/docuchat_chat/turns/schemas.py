"""Requests and responses about turns."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from docuchat_chat.answers.schemas import UsageView
from docuchat_chat.chatbots.errors import ChatbotNotFound
from docuchat_chat.conversations.schemas import MessageView
from docuchat_chat.turns.answering import Answer
from docuchat_chat.turns.domain import Branch, BranchKind, Question
from docuchat_common.contracts.frames import AskMessage, FinishReason
from docuchat_common.http.json_body import StrictBody
from docuchat_common.ids import ChatId, CollectionId, DocumentId, MessageId
from docuchat_common.metering import Used

AskedModel = Annotated[str | None, Field(max_length=200, description="One of ALLOWED_MODELS; the default without.")]
Streamed = Annotated[bool, Field(description="Answer as server-sent events instead of one JSON object.")]


class AskBody(AskMessage):
    """A question."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"message": "How long is the warranty?", "session_id": 123, "stream": False}]},
    )

    id: SkipJsonSchema[None] = Field(default=None, exclude=True)
    stream: Streamed = False

    def to_question(self) -> Question:
        """Return the question. Raises ChatbotNotFound."""
        if self.chatbot_id is not None:
            raise ChatbotNotFound
        return Question(
            text=self.message,
            model=self.model or "",
            session_id=self.session_id,
            chat_id=ChatId(self.chat_id) if self.chat_id is not None else None,
            branch=Branch(BranchKind.FOLLOW, MessageId(self.parent_id)) if self.parent_id is not None else None,
            document_ids=tuple(map(DocumentId, self.documents)) if self.documents is not None else None,
            collection_id=CollectionId(self.collection_id) if self.collection_id is not None else None,
        )


class EditedQuestion(StrictBody):
    """Another question in the place of one."""

    message: str = Field(description="The question. Up to MAX_MESSAGE_CHARS characters.")
    model: AskedModel = None
    stream: Streamed = False

    def to_question(self, message_id: UUID) -> Question:
        """Return the question that stands beside the one of this id."""
        return Question(self.message, self.model or "", branch=Branch(BranchKind.EDIT, MessageId(message_id)))


class AnotherAnswer(StrictBody):
    """Another answer to the same question."""

    model: AskedModel = Field(default=None, description="One of ALLOWED_MODELS; that of the first answer without.")
    stream: Streamed = False

    def to_question(self, message_id: UUID) -> Question:
        """Return the question to which the message of this id is an answer."""
        return Question("", self.model or "", branch=Branch(BranchKind.REGENERATE, MessageId(message_id)))


class AnswerView(BaseModel):
    """A whole answer."""

    chat_id: UUID
    session_id: str
    turn_id: UUID
    message: MessageView
    usage: UsageView
    model: str
    finish_reason: FinishReason = Field(
        description="`stop` (whole), `length` (cut at its limit), `content_filter` (held back by the provider), "
        "`stopped` (by the user), `no_sources` (nothing to answer from) or `no_citations` (the answer cited nothing "
        "where its chatbot asks for citations, and something else was said)."
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
            usage=UsageView.of(message.usage or Used(0)),
            model=answer.turn.model,
            finish_reason=message.metadata.get("finish_reason", "stop"),
        )


class StoppedView(BaseModel):
    """What stopping met."""

    turn_id: UUID
    state: Literal["running", "completed", "stopped", "interrupted", "failed"] = Field(
        description="The state that the turn was found in; `running` means that it is being stopped."
    )
