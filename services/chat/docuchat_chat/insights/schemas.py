"""Responses about a chatbot's use."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from docuchat_chat.conversations.schemas import MessageView
from docuchat_chat.insights.domain import AskedChat, Insights
from docuchat_common.events.chats import FeedbackReason, Rating


class AskedChatView(BaseModel):
    """A chat with a chatbot."""

    id: UUID
    session_id: str = Field(description="The name that the client chose, else the chat's id.")
    subject_type: Literal["user", "visitor", "key", "chatbot"] = Field(
        description="Who asked; `chatbot` is who has the chatbot's secret key."
    )
    subject_id: UUID
    title: str | None
    message_count: int
    created_at: datetime
    updated_at: datetime = Field(description="When something was last said in it.")

    @classmethod
    def of(cls, chat: AskedChat) -> AskedChatView:
        """Present."""
        return cls.model_validate(
            {
                "id": chat.id,
                "session_id": chat.session_id,
                "subject_type": chat.owner.subject_type,
                "subject_id": chat.owner.subject_id,
                "title": chat.title,
                "message_count": chat.message_count,
                "created_at": chat.created_at,
                "updated_at": chat.updated_at,
            }
        )


class AskedChatWithMessages(AskedChatView):
    """A chat with a chatbot, and a page of its messages in order of time."""

    messages: list[MessageView]
    next_cursor: str | None = Field(description="Send as `cursor` for the next messages; null on the last page.")


class UseOfDayView(BaseModel):
    """What one version answered on one day, in UTC."""

    model_config = ConfigDict(from_attributes=True)

    day: date
    version: int | None = Field(description="0 is the draft.")
    answers: int
    unanswered: int = Field(
        description="Which cite nothing, and say nothing of the model's own: nothing was found, or nothing to cite."
    )
    input_tokens: int
    output_tokens: int


class UnansweredView(BaseModel):
    """A question that found nothing, in whatever spelling it was asked."""

    model_config = ConfigDict(from_attributes=True)

    question: str
    times: int
    last_asked_at: datetime
    chat_id: UUID = Field(description="Where it was asked last.")


class OpinionsView(BaseModel):
    """How often answers were rated one way for one reason."""

    model_config = ConfigDict(from_attributes=True)

    rating: Rating
    reason: FeedbackReason | None
    count: int


class CommentView(BaseModel):
    """What a reader said of an answer."""

    model_config = ConfigDict(from_attributes=True)

    chat_id: UUID
    message_id: UUID
    rating: Rating
    reason: FeedbackReason | None
    text: str
    created_at: datetime


class InsightsView(BaseModel):
    """The use of a chatbot."""

    model_config = ConfigDict(from_attributes=True)

    since: datetime
    chats: int = Field(description="In which something was said.")
    askers: int
    use: list[UseOfDayView]
    unanswered: list[UnansweredView] = Field(description="The most asked first, 50 at most.")
    opinions: list[OpinionsView]
    comments: list[CommentView] = Field(description="The last first, 50 at most.")

    @classmethod
    def of(cls, insights: Insights) -> InsightsView:
        """Present."""
        return cls.model_validate(insights)
