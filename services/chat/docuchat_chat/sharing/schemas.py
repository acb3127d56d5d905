"""Requests and responses about sharing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_chat.answers.schemas import CitationView
from docuchat_chat.conversations.domain import Message
from docuchat_chat.sharing.domain import LIFE, LONGEST_LIFE, Audience, IssuedShare, Share
from docuchat_common.http.json_body import StrictBody


class NewShare(StrictBody):
    """Who may read a chat, and for how long."""

    audience: Audience = Field(
        default="tenant", description="`tenant`: who is signed in to it; `link`: everybody who has the link."
    )
    expires_in_seconds: int = Field(
        default=int(LIFE.total_seconds()), ge=60, le=int(LONGEST_LIFE.total_seconds()), description="At most 90 days."
    )

    @property
    def life(self) -> timedelta:
        """For how long."""
        return timedelta(seconds=self.expires_in_seconds)


class ShareView(BaseModel):
    """A link to a chat."""

    id: UUID
    chat_id: UUID
    audience: Audience
    title: str | None = Field(description="What the chat was called when it was shared.")
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, share: Share) -> ShareView:
        """Present."""
        return cls(
            id=share.id,
            chat_id=share.chat_id,
            audience=share.audience,
            title=share.title,
            created_at=share.created_at,
            expires_at=share.expires_at,
        )


class IssuedShareView(ShareView):
    """A new link."""

    url: str
    token: str = Field(description="The secret part of the link; it is not told again.")

    @classmethod
    def issue(cls, issued: IssuedShare, public_url: str) -> IssuedShareView:
        """Present, with where the API is."""
        view = ShareView.of(issued.share)
        return cls(**view.model_dump(), url=f"{public_url}/v1/shared/{issued.token}", token=issued.token)


class SharedMessageView(BaseModel):
    """A message of a shared chat."""

    id: UUID
    role: Literal["user", "assistant"]
    content: str
    citations: list[CitationView] = Field(
        description="With the words that the reader may see: none for who is not signed in."
    )
    status: Literal["complete", "interrupted", "stopped", "failed"]
    created_at: datetime

    @classmethod
    def of(cls, message: Message) -> SharedMessageView:
        """Present."""
        return cls(
            id=message.id,
            role="user" if message.role == "user" else "assistant",
            content=message.content,
            citations=[CitationView.of(citation) for citation in message.citations],
            status=message.status.value,
            created_at=message.created_at,
        )


class SharedChatView(BaseModel):
    """A chat as it was when it was shared: a page of its messages, in order of time."""

    title: str | None
    shared_at: datetime
    expires_at: datetime
    messages: list[SharedMessageView]
    next_cursor: str | None = Field(description="Send as `cursor` for the next messages; null on the last page.")
