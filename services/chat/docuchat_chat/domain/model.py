"""Chats, messages and turns as the domain sees them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from docuchat_common.ids import ChatId, ChunkId, CollectionId, DocumentId, HoldId, MessageId, TenantId, TurnId, UserId
from docuchat_models.chat import TokenUsage

Role = Literal["system", "user", "assistant"]

TITLE_LENGTH = 60


class MessageStatus(StrEnum):
    """How a message came to its end."""

    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"
    FAILED = "failed"


class TurnState(StrEnum):
    """Where a turn stands; every state but `running` is final."""

    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


MESSAGE_STATUS = {
    TurnState.COMPLETED: MessageStatus.COMPLETE,
    TurnState.STOPPED: MessageStatus.STOPPED,
    TurnState.INTERRUPTED: MessageStatus.INTERRUPTED,
    TurnState.FAILED: MessageStatus.FAILED,
}


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: one user of one tenant. Chats are private to their asker."""

    tenant_id: TenantId
    user_id: UserId


@dataclass(frozen=True, slots=True)
class Chat:
    """One conversation of one user."""

    id: ChatId
    user_id: UserId
    session_key: str | None
    title: str | None
    created_at: datetime
    updated_at: datetime
    message_count: int

    @property
    def session_id(self) -> str:
        """The name the client chose, or the chat's own id."""
        return self.session_key if self.session_key is not None else str(self.id)


@dataclass(frozen=True, slots=True)
class Citation:
    """A checked reference from an answer to a place in a document."""

    number: int
    chunk_id: ChunkId
    document_id: DocumentId
    title: str
    filename: str
    page: int | None
    page_to: int | None
    quote: str
    score: float


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat; citations are a snapshot, so they outlive their documents."""

    id: MessageId
    chat_id: ChatId
    seq: int
    role: str
    content: str
    citations: tuple[Citation, ...]
    usage: TokenUsage | None
    model: str | None
    status: MessageStatus
    metadata: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PastMessage:
    """A message as the prompt needs it: role, text and its tokens under the tokenizer it was counted with."""

    role: Role
    content: str
    tokens: int | None = None
    tokenizer: str | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A retrieved chunk: what an answer may rest on and cite."""

    chunk_id: ChunkId
    document_id: DocumentId
    title: str
    filename: str
    page: int | None
    page_to: int | None
    text: str
    score: float
    vector_rank: int | None = None
    text_rank: int | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A passage under the number that the prompt and the citations give it."""

    number: int
    passage: Passage


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a prompt."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent to the model, and what it costs to send it."""

    messages: tuple[PromptMessage, ...]
    sources: tuple[Source, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class Question:
    """A checked question, ready to be answered."""

    text: str
    model: str
    tokens: int
    session_id: str | None = None
    chat_id: ChatId | None = None
    document_ids: tuple[DocumentId, ...] | None = None
    collection_id: CollectionId | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Tokens that the usage service keeps back for a turn until it is booked."""

    id: HoldId
    tokens: int


@dataclass(frozen=True, slots=True)
class NewTurn:
    """A turn as it is written down before the provider is called."""

    id: TurnId
    chat_id: ChatId
    user_message_id: MessageId
    message_id: MessageId
    model: str
    provider: str
    hold_id: HoldId | None
    prompt_tokens: int
    owner: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer, from before the provider is called until it is settled."""

    id: TurnId
    tenant_id: TenantId
    user_id: UserId
    chat_id: ChatId
    session_id: str
    user_message_id: MessageId
    message_id: MessageId
    model: str
    provider: str
    hold_id: HoldId | None
    prompt_tokens: int
    owner: str
    state: TurnState
    sources: tuple[Source, ...]
    usage: TokenUsage | None
    finish_reason: str | None
    frame_lengths: tuple[int, ...]
    error_code: str | None
    error_message: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn ended and what is to be kept and booked of it."""

    state: TurnState
    text: str
    frame_lengths: tuple[int, ...]
    finish_reason: str
    usage: TokenUsage | None
    """None when nothing is to be booked: the provider never took the request."""
    citations: tuple[Citation, ...] = ()
    not_cited: tuple[int, ...] = ()
    error_code: str | None = None
    error_message: str | None = None
    retry_after_seconds: int | None = None
    text_tokens: int | None = None
    tokenizer: str | None = None


@dataclass(frozen=True, slots=True)
class Library:
    """What documents there are to answer from."""

    ready: int
    processing: int
    failed: int


@dataclass(frozen=True, slots=True)
class StaleTurn:
    """A running turn whose owner gave no sign of life."""

    tenant_id: TenantId
    turn_id: TurnId
    owner: str


@dataclass(slots=True)
class Received:
    """What reached us of a turn whose process died: the frames it had published."""

    pieces: list[str] = field(default_factory=list)
    accepted: bool = False
    finished: bool = False


def title_of(question: str) -> str:
    """Return the title of a chat: the beginning of its first question, cut at a word."""
    line = " ".join(question.split())
    if len(line) <= TITLE_LENGTH:
        return line
    cut = line[: TITLE_LENGTH - 1]
    at = cut.rfind(" ")
    return (cut[:at] if at > TITLE_LENGTH // 2 else cut).rstrip() + "…"
