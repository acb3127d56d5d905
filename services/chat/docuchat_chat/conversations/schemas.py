"""Requests and responses about chats."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, JsonValue, field_validator, model_validator

from docuchat_chat.answers.schemas import CitationView, UsageView
from docuchat_chat.conversations.domain import Chat, ChatChange, Message
from docuchat_chat.feedback.schemas import FeedbackView
from docuchat_common.http.json_body import StrictBody
from docuchat_common.ids import MessageId
from docuchat_common.text import one_line


class AttachedFileView(BaseModel):
    """A file that was attached to a question."""

    id: UUID
    title: str = Field(description="Empty once the file is deleted.")
    filename: str


class MessageView(BaseModel):
    """A message of a chat."""

    id: UUID
    chat_id: UUID
    role: Literal["user", "assistant"]
    content: str
    citations: list[CitationView]
    usage: UsageView | None
    model: str | None
    status: Literal["complete", "interrupted", "stopped", "failed"]
    metadata: dict[str, Any]
    created_at: datetime
    parent_id: UUID | None = Field(description="The message that it follows; null at the beginning of a chat.")
    attachments: list[AttachedFileView] = Field(default=[], description="Own files that the question was asked of.")

    @classmethod
    def of(cls, message: Message) -> MessageView:
        """Present."""
        return cls(
            id=message.id,
            chat_id=message.chat_id,
            role="user" if message.role == "user" else "assistant",
            content=message.content,
            citations=[CitationView.of(citation) for citation in message.citations],
            usage=UsageView.of(message.usage) if message.usage is not None else None,
            model=message.model,
            status=message.status.value,
            metadata=message.metadata,
            created_at=message.created_at,
            parent_id=message.parent_id,
            attachments=[
                AttachedFileView(id=each.id, title=each.title, filename=each.filename) for each in message.attachments
            ],
        )


class MatchView(BaseModel):
    """Where a search found its words."""

    message_id: UUID | None = Field(description="The last message that holds them; null when only the title does.")
    snippet: str = Field(description="Plain text around them.")


class PlacedMessageView(MessageView):
    """A message of a chat, among those beside it."""

    siblings: list[UUID] = Field(
        description="The messages that follow the same one, itself among them, in the order in which they were "
        "written; of more than 100 the nearest."
    )
    feedback: FeedbackView | None = Field(description="What you think of it, if you said so.")

    @classmethod
    def of(cls, message: Message) -> PlacedMessageView:
        """Present."""
        return cls(
            **MessageView.of(message).model_dump(),
            siblings=list(message.siblings),
            feedback=FeedbackView.of(message.feedback) if message.feedback is not None else None,
        )


class ChatView(BaseModel):
    """A chat."""

    id: UUID
    session_id: str = Field(description="The name that the client chose, else the chat's id.")
    title: str | None
    created_at: datetime
    updated_at: datetime
    message_count: int
    pinned: bool
    archived: bool
    match: MatchView | None = Field(default=None, description="In the answer to a search: what was found.")

    @classmethod
    def of(cls, chat: Chat) -> ChatView:
        """Present."""
        return cls(
            id=chat.id,
            session_id=chat.session_id,
            title=chat.title,
            created_at=chat.created_at,
            updated_at=chat.updated_at,
            message_count=chat.message_count,
            pinned=chat.pinned,
            archived=chat.archived,
            match=MatchView(message_id=chat.match.message_id, snippet=chat.match.snippet) if chat.match else None,
        )


class ChatWithMessages(ChatView):
    """A chat with a page of its messages, in order of time."""

    head_id: UUID | None = Field(
        description="The last message of what is shown, which the next question follows: it may be an answer that is "
        "still being written. Null in an empty chat."
    )
    messages: list[PlacedMessageView]
    next_cursor: str | None = Field(description="Send as `cursor` for the next messages; null on the last page.")


def _readable(title: str | None) -> str | None:
    if title is not None and not one_line(title):
        raise ValueError("the title is empty")
    return title


class NewChat(StrictBody):
    """A chat to create."""

    title: str | None = Field(default=None, max_length=200)

    _title = field_validator("title")(_readable)


class RenameChat(StrictBody):
    """Another title."""

    title: str = Field(min_length=1, max_length=200)

    _title = field_validator("title")(_readable)


class ChangeChat(StrictBody):
    """What is to be another of a chat; what is left out stays as it is."""

    title: str | None = Field(default=None, min_length=1, max_length=200)
    pinned: bool | None = Field(default=None, description="Pinned chats stand first in the list.")
    archived: bool | None = Field(default=None, description="Archived chats are listed apart.")
    head_id: UUID | None = Field(
        default=None, description="A message: its branch is shown, and gone on with, to its newest end."
    )

    _title = field_validator("title")(_readable)

    @model_validator(mode="after")
    def _changes(self) -> ChangeChat:
        if self.title is None and self.pinned is None and self.archived is None and self.head_id is None:
            raise ValueError("say what is to be changed: title, pinned, archived or head_id")
        return self

    def to_change(self) -> ChatChange:
        """As the use case takes it."""
        return ChatChange(
            title=self.title,
            pinned=self.pinned,
            archived=self.archived,
            head_id=MessageId(self.head_id) if self.head_id is not None else None,
        )


class ForgetDocument(StrictBody):
    """Whose document was deleted."""

    tenant_id: int


class ForgottenQuotes(BaseModel):
    """How many answers had quotes of it."""

    quotes: int


class NewMessage(StrictBody):
    """A user's message that is stored without being answered."""

    chat_id: UUID
    content: str = Field(min_length=1, max_length=16_000)
    metadata: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("metadata")
    @classmethod
    def _small(cls, metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
        text = json.dumps(metadata)
        if len(text) > 8000:
            raise ValueError("the metadata is longer than 8000 characters")
        if "\\u0000" in text:
            raise ValueError("the metadata holds a NUL character")
        return metadata
