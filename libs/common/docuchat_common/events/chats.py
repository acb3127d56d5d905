"""Events of answers, of what readers say of them, and of chatbots: frozen and versioned as all of the catalogue."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import NonNegativeInt, PositiveInt

from docuchat_common.events.envelope import Event

Rating = Literal["up", "down"]
FeedbackReason = Literal[
    "correct",
    "helpful",
    "clear",
    "incorrect",
    "incomplete",
    "irrelevant",
    "outdated",
    "wrong_citation",
    "unclear",
    "harmful",
    "other",
]


class ChatMessageCompleted(Event):
    """An answer is stored."""

    type: ClassVar[str] = "chat.message.completed.v1"
    published_by: ClassVar[tuple[str, ...]] = ("chat",)

    chat_id: UUID
    message_id: UUID
    turn_id: UUID
    user_id: UUID
    model: str
    finish_reason: Literal[
        "stop", "length", "content_filter", "stopped", "no_sources", "no_citations", "conversational", "error"
    ]
    citations: NonNegativeInt
    chatbot_id: UUID | None = None
    chatbot_version: NonNegativeInt | None = None
    """Which version of the chatbot answered; 0 is its draft."""


class MessageFeedback(Event):
    """A reader said what they think of an answer, said something else than before, or took it back."""

    type: ClassVar[str] = "message.feedback.v1"
    published_by: ClassVar[tuple[str, ...]] = ("chat",)

    chat_id: UUID
    message_id: UUID
    chatbot_id: UUID | None = None
    subject_type: Literal["user", "visitor", "key", "chatbot", "operator"]
    subject_id: UUID
    rating: Literal["up", "down", "none"]
    """`none` when it was taken back."""
    reason: FeedbackReason | None = None
    has_text: bool = False
    """Whether there are words as well; they are in no event."""


class ChatbotPublished(Event):
    """A version of a chatbot answers from now on."""

    type: ClassVar[str] = "chatbot.published.v1"
    published_by: ClassVar[tuple[str, ...]] = ("chat",)

    chatbot_id: UUID
    version: PositiveInt


class ChatbotUnpublished(Event):
    """A chatbot answers nobody, until a version is published again."""

    type: ClassVar[str] = "chatbot.unpublished.v1"
    published_by: ClassVar[tuple[str, ...]] = ("chat",)

    chatbot_id: UUID
    version: PositiveInt
    """Which answered until now."""


class ChatbotDeleted(Event):
    """A chatbot is gone: its own collection goes, which has its id, with all documents in it."""

    type: ClassVar[str] = "chatbot.deleted.v1"
    published_by: ClassVar[tuple[str, ...]] = ("chat",)
    taken_by: ClassVar[tuple[str, ...]] = ("ingest",)

    chatbot_id: UUID


class ChatDeleted(Event):
    """A chat is gone in which files were used, and no other chat has them: they go as well."""

    type: ClassVar[str] = "chat.deleted.v1"
    published_by: ClassVar[tuple[str, ...]] = ("chat",)
    taken_by: ClassVar[tuple[str, ...]] = ("ingest",)

    chat_id: UUID
    document_ids: tuple[UUID, ...]
