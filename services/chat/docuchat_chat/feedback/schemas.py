"""Requests and responses about feedback."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from docuchat_chat.feedback.domain import LONGEST_TEXT, Feedback, Opinion
from docuchat_common.events.chats import FeedbackReason, Rating
from docuchat_common.http.json_body import StrictBody


class GiveFeedback(StrictBody):
    """What a reader thinks of an answer."""

    rating: Rating
    reason: FeedbackReason | None = None
    text: str | None = Field(default=None, max_length=LONGEST_TEXT, description="In the reader's own words.")

    def to_opinion(self) -> Opinion:
        """As the use case takes it."""
        text = (self.text or "").replace("\x00", "").strip()
        return Opinion(self.rating, self.reason, text or None)


class FeedbackView(BaseModel):
    """What the reader thinks of an answer."""

    rating: Rating
    reason: FeedbackReason | None
    text: str | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, feedback: Feedback) -> FeedbackView:
        """Present."""
        return cls(
            rating=feedback.opinion.rating,
            reason=feedback.opinion.reason,
            text=feedback.opinion.text,
            created_at=feedback.created_at,
            updated_at=feedback.updated_at,
        )
