"""What the service answers about shared chats, open ones, and what happens."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from docuchat_client.models import AnswerEvent, Citation, Document, Model, parse_event

Audience = Literal["tenant", "link"]
ExportFormat = Literal["markdown", "json"]
FeedbackReason = Literal[
    "correct", "helpful", "clear", "incorrect", "incomplete", "irrelevant", "outdated", "wrong_citation", "unclear",
    "harmful", "other",
]  # fmt: skip


class Share(Model):
    """A link that opens a chat as it was when it was shared."""

    id: UUID
    chat_id: UUID
    audience: Audience
    title: str | None = None
    created_at: datetime
    expires_at: datetime


class IssuedShare(Share):
    """A new link; `token` and `url` are told this once."""

    token: str
    url: str


class SharedMessage(Model):
    """A message of a shared chat."""

    id: UUID
    role: Literal["user", "assistant"]
    content: str
    citations: list[Citation]
    status: str | None = None
    created_at: datetime


class SharedChat(Model):
    """A shared chat, and a page of its messages."""

    title: str | None = None
    messages: list[SharedMessage]
    shared_at: datetime
    expires_at: datetime
    next_cursor: str | None = None


class ChatSession(Model):
    """A window or device in which a chat is open."""

    id: UUID
    chat_id: UUID
    user_id: UUID
    is_active: bool
    created_at: datetime
    last_activity: datetime


class OpenedChatSession(ChatSession):
    """A new one; `session_token` keeps it open."""

    session_token: str


class ChatSessions(Model):
    """Where a chat is open."""

    items: list[ChatSession]


class Ticket(Model):
    """Opens `GET /v1/events?ticket=` once, within `expires_in` seconds."""

    ticket: str
    expires_in: int


class UserEvent(Model):
    """Something that happened; `id` is what a stream goes on behind."""

    id: str | None
    type: str
    data: dict[str, Any]

    @property
    def document(self) -> Document | None:
        """The document that changed, if it is about one."""
        return Document.model_validate(self.data) if self.type == "document" else None

    @property
    def turn_id(self) -> UUID | None:
        """The turn, if it is of one."""
        return UUID(self.data["turn_id"]) if "turn_id" in self.data else None

    @property
    def of_answer(self) -> AnswerEvent | None:
        """What it says of an answer, if it is of one."""
        return parse_event(self.data) if self.turn_id is not None else None
