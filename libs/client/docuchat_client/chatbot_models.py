"""What the service answers about chatbots."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from docuchat_client.models import Citation, Fallback, Message, Model, Rating, SessionId, TurnUsage

Language = Literal["en", "fa", "de", "ar"]


class Colours(Model):
    """What a widget is painted with, as `#1a73e8`; None leaves it to the widget."""

    accent: str | None = None
    background: str | None = None
    text: str | None = None


class AnswerPolicy(Model):
    """What an answer may rest on, and what it keeps silent about."""

    own_knowledge: bool = False
    citations_required: bool = False
    refused_subjects: list[str] = Field(default=[])


class ChatbotConfig(Model):
    """What a version, or the draft, says."""

    collections: list[UUID]
    system_prompt: str
    model: str | None = None
    fallback_model: str | None = None
    temperature: float | None = None
    top_k: int | None = None
    greeting: str | None
    suggested_questions: list[str]
    language: str | None
    colours: Colours
    nothing_found: str | None = None
    answer_policy: AnswerPolicy


class Published(Model):
    """The version that answers; `config` is for who manages chatbots."""

    version: int
    published_at: datetime
    greeting: str | None
    suggested_questions: list[str]
    language: str | None
    colours: Colours
    config: ChatbotConfig | None = None


class Chatbot(Model):
    """A chatbot; draft, origins and limits are told to who manages chatbots."""

    id: UUID
    publishable_id: str
    name: str
    description: str = ""
    published: Published | None = None
    draft: ChatbotConfig | None = None
    has_changes: bool | None = None
    revision: int | None = None
    origins: list[str] | None = None
    demo_messages: int | None = None
    tokens_per_month: int | None = None
    tokens_per_visitor: int | None = None
    created_at: datetime
    updated_at: datetime


class ChatbotSecret(Model):
    """A secret of a chatbot's key, by its first characters."""

    prefix: str
    created_at: datetime
    ends_at: datetime | None = None
    last_used_at: datetime | None = None
    last_used_from: str | None = None


class ChatbotKey(Model):
    """A chatbot's key; after a rotation it has two secrets for a while."""

    id: UUID
    secrets: list[ChatbotSecret]


class RotatedKey(Model):
    """A new secret, told this once."""

    secret_key: str | None = Field(default=None, repr=False)
    key: ChatbotKey | None = None


class CreatedChatbot(Chatbot):
    """A new chatbot and its secret, told this once."""

    secret_key: str | None = Field(default=None, repr=False)
    secret_key_withheld: str | None = None
    """Why it is not told: `recent_sign_in_required`; sign in and rotate it."""
    key: ChatbotKey | None = None


class ChatbotVersion(Model):
    """A published version, which never changes; number 0 is the draft."""

    chatbot_id: UUID
    version: int
    config: ChatbotConfig
    created_at: datetime
    restored_from: int | None = None


class Change(Model):
    """A field that two versions say differently."""

    field: str
    before: Any = None
    after: Any = None


class Changes(Model):
    """What became different from one version to another."""

    from_version: int
    to_version: int
    changes: list[Change]


class ChatbotAnswer(Model):
    """A chatbot's whole answer."""

    chat_id: UUID
    session_id: SessionId
    turn_id: UUID
    message_id: UUID
    chatbot_id: UUID
    chatbot_version: int
    answer: str
    citations: list[Citation]
    own_knowledge: list[str]
    """Sentences that the model knows from elsewhere."""
    usage: TurnUsage
    finish_reason: str | None = None
    fallback: Fallback | None = None
    searched_as: str | None = None
    """The question as it was searched, where that is in other words."""


class ShownChatbot(Model):
    """What a page shows of a chatbot."""

    publishable_id: str
    name: str
    version: int
    greeting: str | None
    suggested_questions: list[str]
    language: str | None
    colours: Colours


class VisitorToken(Model):
    """Asks one chatbot from pages of one origin, for `expires_in` seconds."""

    visitor_token: str = Field(repr=False)
    visitor_id: UUID
    expires_in: int


class AskedChat(Model):
    """A chat with a chatbot, as its managers see it."""

    id: UUID
    session_id: SessionId
    subject_type: str
    subject_id: UUID
    title: str | None = None
    message_count: int
    created_at: datetime
    updated_at: datetime


class AskedChatWithMessages(AskedChat):
    """A chat with a chatbot, and a page of its messages."""

    messages: list[Message]
    next_cursor: str | None = None


class UseOfDay(Model):
    """What one version answered on one day, in UTC; version 0 is the draft."""

    day: date
    version: int | None = None
    answers: int
    unanswered: int
    input_tokens: int
    output_tokens: int


class Snippet(Model):
    """The script tag that shows a chatbot on a page, and what it needs there; `notes` say what is missing."""

    html: str
    publishable_id: str
    script_url: str
    integrity: str
    version: str
    origins: list[str] | None = None
    content_security_policy: str
    notes: list[str]


class Unanswered(Model):
    """A question that nothing was found for."""

    question: str
    times: int
    last_asked_at: datetime
    chat_id: UUID


class Opinions(Model):
    """How often answers were rated one way for one reason."""

    rating: Rating
    reason: str | None = None
    count: int


class Comment(Model):
    """What a reader said of an answer."""

    chat_id: UUID
    message_id: UUID
    rating: Rating
    reason: str | None = None
    text: str
    created_at: datetime


class Insights(Model):
    """What a chatbot is used for."""

    since: datetime
    chats: int
    askers: int
    use: list[UseOfDay]
    unanswered: list[Unanswered]
    opinions: list[Opinions]
    comments: list[Comment]
