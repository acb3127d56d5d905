"""How a chatbot is used: its conversations, and figures of some days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from docuchat_common.events.chats import FeedbackReason, Rating
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatId, MessageId

MOST_DAYS = 90


@dataclass(frozen=True, slots=True)
class AskedChat:
    """A chat with a chatbot, as who manages it sees it."""

    id: ChatId
    owner: Caller
    """Who asked: a user, a visitor, or the chatbot itself for whoever has its key."""
    session_key: str | None
    title: str | None
    message_count: int
    created_at: datetime
    updated_at: datetime

    @property
    def session_id(self) -> str:
        """The name that its client chose, or its own id."""
        return self.session_key if self.session_key is not None else str(self.id)


@dataclass(frozen=True, slots=True)
class UseOfDay:
    """What one version answered on one day, in UTC."""

    day: date
    version: int | None
    answers: int
    unanswered: int
    """Which cite nothing, and say nothing of the model's own: nothing was found, or nothing that could be cited."""
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A question that found nothing, in whatever spelling it was asked."""

    question: str
    times: int
    last_asked_at: datetime
    chat_id: ChatId
    """Where it was asked last."""


@dataclass(frozen=True, slots=True)
class Comment:
    """What a reader said of an answer."""

    chat_id: ChatId
    message_id: MessageId
    rating: Rating
    reason: FeedbackReason | None
    text: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Opinions:
    """How often answers were rated one way for one reason."""

    rating: Rating
    reason: FeedbackReason | None
    count: int


@dataclass(frozen=True, slots=True)
class Insights:
    """The use of a chatbot since a moment."""

    since: datetime
    chats: int
    askers: int
    use: list[UseOfDay]
    unanswered: list[Unanswered]
    opinions: list[Opinions]
    comments: list[Comment]
