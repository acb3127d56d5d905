"""What a reader thinks of an answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from docuchat_common.events.chats import FeedbackReason, Rating
from docuchat_common.ids import ChatId, MessageId

LONGEST_TEXT = 2_000


@dataclass(frozen=True, slots=True)
class Opinion:
    """What is said of an answer."""

    rating: Rating
    reason: FeedbackReason | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """An opinion that was given."""

    message_id: MessageId
    opinion: Opinion
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RatedMessage:
    """A message that feedback is about."""

    id: MessageId
    chat_id: ChatId
    chatbot_id: UUID | None
    is_answer: bool
