"""Chats and their messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from docuchat_chat.answers.domain import Citation
from docuchat_chat.conversations.tree import Tree
from docuchat_chat.feedback.domain import Feedback
from docuchat_common.ids import ChatbotId, ChatId, CollectionId, DocumentId, MessageId
from docuchat_common.metering import Used
from docuchat_common.text import one_line

TITLE_LENGTH = 60
MOST_MESSAGES = 10_000
"""In one chat."""
MOST_SIBLINGS = 100
"""That are told with a message: of more, the nearest."""


class MessageStatus(StrEnum):
    """How a message came to its end."""

    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Match:
    """Where the words of a search stand in a chat."""

    message_id: MessageId | None
    """None where they stand in the title alone."""
    snippet: str


@dataclass(frozen=True, slots=True)
class Chat:
    """One conversation, private to its caller."""

    id: ChatId
    session_key: str | None
    title: str | None
    created_at: datetime
    updated_at: datetime
    message_count: int
    pinned: bool = False
    archived: bool = False
    chatbot_id: ChatbotId | None = None
    """The chatbot that answers in it, for ever; known of a chat that is looked up by itself."""
    attachments: tuple[DocumentId, ...] = ()
    """Files that were attached to its questions; known of a chat that is looked up by itself."""
    match: Match | None = None
    """Of a search."""
    tree: Tree = field(default_factory=Tree)
    """Known of a chat that is looked up by itself, not of those in a list."""

    @property
    def is_full(self) -> bool:
        """Whether nothing more can be said in it."""
        return self.message_count >= MOST_MESSAGES

    @property
    def session_id(self) -> str:
        """The name the client chose, or the chat's own id."""
        return self.session_key if self.session_key is not None else str(self.id)


@dataclass(frozen=True, slots=True)
class ChatChange:
    """What is to be another of a chat; None leaves it as it is."""

    title: str | None = None
    pinned: bool | None = None
    archived: bool | None = None
    head_id: MessageId | None = None
    """A message of the branch that is to be shown, to its newest end."""

    @property
    def names(self) -> str:
        """What is changed, for the audit log."""
        names = ("title", "pinned", "archived", "head_id")
        return ", ".join(name for name in names if getattr(self, name) is not None)


@dataclass(frozen=True, slots=True)
class ChatFilter:
    """Which chats are listed; archived ones stand apart."""

    archived: bool = False
    pinned: bool | None = None
    chatbot_id: ChatbotId | None = None
    needle: str | None = None
    """Folded text that stands in the title or in a message."""


ChatPosition = tuple[bool, datetime, ChatId]
"""A place in the list: whether pinned, when used last, which."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which documents a question is asked of; None: all that its asker may read."""

    document_ids: tuple[DocumentId, ...] | None = None
    collection_id: CollectionId | None = None
    attachments: tuple[DocumentId, ...] = ()
    """Own files, which it is asked of as well."""


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """A file that was attached to a question; without names once it is deleted, or where it is not the reader's."""

    id: DocumentId
    title: str = ""
    filename: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat; citations are a snapshot, so they outlive their documents."""

    id: MessageId
    chat_id: ChatId
    seq: int
    role: str
    content: str
    citations: tuple[Citation, ...]
    usage: Used | None
    model: str | None
    status: MessageStatus
    metadata: dict[str, Any]
    created_at: datetime
    scope: Scope = Scope()
    attachments: tuple[AttachedFile, ...] = ()
    """What its scope names, as its reader may see it."""
    parent_id: MessageId | None = None
    """What it follows; None at the beginning of a chat, and of a message that is looked up by itself."""
    siblings: tuple[MessageId, ...] = ()
    """All that follow the same message, itself among them, in the order in which they were written."""
    feedback: Feedback | None = None
    """What its reader thinks of it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a chat a question and its answer go."""

    after: int | None = None
    """The number of the message that they follow; None: the end of what is shown then."""
    question_id: MessageId | None = None
    """Set when only an answer is to come: the question, which is the message that it follows."""

    def before(self, tree: Tree) -> int:
        """Return the number of the last message that was said before the question."""
        if self.after is None:
            return tree.head
        return tree.parent(self.after) if self.question_id is not None else self.after


ANYWHERE = Place()


def chat_id_of(session_id: str | None) -> ChatId | None:
    """Return the chat that a session_id may be the id of."""
    try:
        return ChatId(UUID(session_id)) if session_id is not None else None
    except ValueError:
        return None


def title_of(question: str) -> str:
    """Return the title of a chat: the beginning of its first question, cut at a word."""
    line = one_line(question)
    if len(line) <= TITLE_LENGTH:
        return line
    cut = line[: TITLE_LENGTH - 1]
    at = cut.rfind(" ")
    return (cut[:at] if at > TITLE_LENGTH // 2 else cut).rstrip() + "…"
