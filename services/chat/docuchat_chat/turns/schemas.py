"""Requests and responses about turns."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from docuchat_chat.answers.schemas import CitationView, UsageView
from docuchat_chat.conversations.schemas import MessageView
from docuchat_chat.turns.answering import Answer
from docuchat_chat.turns.domain import Branch, BranchKind, Question, Turn, fallback_fields
from docuchat_common.contracts.frames import AskMessage, FallbackReference, FinishReason, SearchedAs, SessionId
from docuchat_common.http.json_body import StrictBody
from docuchat_common.ids import ChatbotId, ChatId, CollectionId, DocumentId, MessageId
from docuchat_common.metering import Used

AskedModel = Annotated[str | None, Field(max_length=200, description="One of ALLOWED_MODELS; the default without.")]
Streamed = Annotated[bool, Field(description="Answer as server-sent events instead of one JSON object.")]
Detached = Annotated[
    bool,
    Field(description="Answer with the turn's id at once, for who follows all turns at `GET /v1/events`."),
]


class AskBody(AskMessage):
    """A question."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"message": "How long is the warranty?", "session_id": 123, "stream": False}]},
    )

    id: SkipJsonSchema[None] = Field(default=None, exclude=True)
    stream: Streamed = False
    detach: Detached = False

    def to_question(self) -> Question:
        """Return the question."""
        return Question(
            text=self.message,
            model=self.model or "",
            session_id=self.session_id,
            chat_id=ChatId(self.chat_id) if self.chat_id is not None else None,
            branch=Branch(BranchKind.FOLLOW, MessageId(self.parent_id)) if self.parent_id is not None else None,
            document_ids=tuple(map(DocumentId, self.documents)) if self.documents is not None else None,
            collection_id=CollectionId(self.collection_id) if self.collection_id is not None else None,
            attachments=tuple(dict.fromkeys(map(DocumentId, self.attachments))),
            chatbot_id=ChatbotId(self.chatbot_id) if self.chatbot_id is not None else None,
        )


class EditedQuestion(StrictBody):
    """Another question in the place of one."""

    message: str = Field(description="The question. Up to MAX_MESSAGE_CHARS characters.")
    model: AskedModel = None
    stream: Streamed = False
    detach: Detached = False

    def to_question(self, message_id: UUID) -> Question:
        """Return the question that stands beside the one of this id."""
        return Question(self.message, self.model or "", branch=Branch(BranchKind.EDIT, MessageId(message_id)))


class AnotherAnswer(StrictBody):
    """Another answer to the same question."""

    model: AskedModel = Field(default=None, description="One of ALLOWED_MODELS; that of the first answer without.")
    stream: Streamed = False
    detach: Detached = False

    def to_question(self, message_id: UUID) -> Question:
        """Return the question to which the message of this id is an answer."""
        return Question("", self.model or "", branch=Branch(BranchKind.REGENERATE, MessageId(message_id)))


class BegunView(BaseModel):
    """A turn that is being answered."""

    turn_id: UUID
    chat_id: UUID


class AnswerView(BaseModel):
    """A whole answer."""

    chat_id: UUID
    session_id: str
    turn_id: UUID
    message: MessageView
    usage: UsageView
    model: str = Field(description="The one that answered.")
    fallback: FallbackReference | None = Field(default=None, description="Set where that is not the one asked first.")
    chatbot_id: UUID | None = Field(default=None, description="The chatbot that answered, if one did.")
    chatbot_version: int | None = Field(default=None, description="Which version of it, from 1; 0 is its draft.")
    finish_reason: FinishReason = Field(
        description="`stop` (whole), `length` (cut at its limit), `content_filter` (cut by the provider, or because it "
        "repeated its instructions), `stopped` (by the user), `no_sources` (nothing to answer from), `no_citations` "
        "(the answer cited nothing where its chatbot asks for citations, and something else was said) or "
        "`conversational` (a greeting or thanks, answered without a document)."
    )
    searched_as: SearchedAs = None

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
            fallback=fallback_of(answer.turn),
            chatbot_id=answer.turn.chatbot_id,
            chatbot_version=answer.turn.chatbot_version,
            finish_reason=message.metadata.get("finish_reason", "stop"),
            searched_as=answer.turn.searched_as,
        )


class ChatbotQuestion(StrictBody):
    """A question to a chatbot."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"question": "How long is the warranty?", "session_id": "visit-7"}]}
    )

    question: str = Field(min_length=1, description="Up to MAX_MESSAGE_CHARS characters.")
    session_id: SessionId | None = Field(
        default=None,
        description="Any name of the client's choice: questions of one session share one chat with this chatbot.",
    )
    stream: bool = Field(default=False, description="Answer as server-sent events instead of one JSON object.")

    def to_question(self, chatbot_id: ChatbotId) -> Question:
        """Return the question."""
        return Question(text=self.question, session_id=self.session_id, chatbot_id=chatbot_id)


class ChatbotTrial(ChatbotQuestion):
    """A question to a chatbot, which may be one that is not live."""

    version: Literal["draft"] | Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)] | None = Field(
        default=None, description="A version, or `draft`, for who manages chatbots; the live one without."
    )

    def to_question(self, chatbot_id: ChatbotId) -> Question:
        """Return the question."""
        return replace(super().to_question(chatbot_id), version=self.version)


class ChatbotAnswer(BaseModel):
    """A chatbot's whole answer."""

    answer: str
    citations: list[CitationView]
    own_knowledge: list[str] = Field(
        description="The sentences that rest on no document, where the chatbot may say such; each ends with † there."
    )
    session_id: str
    chat_id: UUID
    turn_id: UUID
    message_id: UUID
    chatbot_id: UUID
    chatbot_version: int = Field(description="The version that answered, from 1; 0 is the draft.")
    usage: UsageView
    finish_reason: FinishReason = Field(description="As of `POST /v1/chat`.")
    fallback: FallbackReference | None = Field(
        default=None, description="Set where the chatbot's second model answered in place of its first."
    )
    searched_as: SearchedAs = None

    @classmethod
    def of(cls, answer: Answer) -> ChatbotAnswer:
        """Present."""
        turn, message = answer.turn, answer.message
        assert turn.chatbot_id is not None
        assert turn.chatbot_version is not None
        return cls(
            answer=message.content,
            citations=[CitationView.of(citation) for citation in message.citations],
            own_knowledge=message.metadata.get("own_knowledge", []),
            session_id=turn.session_id,
            chat_id=turn.chat_id,
            turn_id=turn.id,
            message_id=turn.message_id,
            chatbot_id=turn.chatbot_id,
            chatbot_version=turn.chatbot_version,
            usage=UsageView.of(message.usage or Used(0)),
            finish_reason=message.metadata.get("finish_reason", "stop"),
            fallback=fallback_of(turn),
            searched_as=turn.searched_as,
        )


class StoppedView(BaseModel):
    """What stopping met."""

    turn_id: UUID
    state: Literal["running", "completed", "stopped", "interrupted", "failed"] = Field(
        description="The state that the turn was found in; `running` means that it is being stopped."
    )


def fallback_of(turn: Turn) -> FallbackReference | None:
    """Present why another model answered; None where the first did."""
    if turn.fallback is None:
        return None
    return FallbackReference.model_validate(fallback_fields(turn.fallback))
