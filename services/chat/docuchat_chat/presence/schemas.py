"""Requests and responses about sessions of chats."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_chat.presence.domain import ChatSession, OpenedSession
from docuchat_common.http.json_body import StrictBody


class ChatSessionView(BaseModel):
    """A window or device in which a chat is open."""

    id: UUID
    user_id: UUID = Field(description="Whose session it is: a user, or an API key.")
    chat_id: UUID
    is_active: bool = Field(description="True: a session that has ended is not shown.")
    last_activity: datetime
    created_at: datetime

    @classmethod
    def of(cls, session: ChatSession) -> ChatSessionView:
        """Present."""
        return cls(
            id=session.id,
            user_id=session.subject_id,
            chat_id=session.chat_id,
            is_active=True,
            last_activity=session.last_activity,
            created_at=session.created_at,
        )


class OpenedChatSession(ChatSessionView):
    """A new session."""

    session_token: str = Field(description="For its signs of life; it is not told again.")

    @classmethod
    def opened(cls, opened: OpenedSession) -> OpenedChatSession:
        """Present."""
        return cls(**ChatSessionView.of(opened.session).model_dump(), session_token=opened.token)


class KeepChatSession(StrictBody):
    """A sign of life."""

    session_token: str = Field(min_length=1, max_length=100)


class ChatSessions(BaseModel):
    """The sessions of a chat that have not ended, the newest first."""

    items: list[ChatSessionView]
