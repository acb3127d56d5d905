"""Turns: a question and its answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from docuchat_chat.answers.domain import Citation, Source
from docuchat_chat.conversations.domain import MessageStatus
from docuchat_common.ids import ChatId, CollectionId, DocumentId, HoldId, MessageId, TenantId, TurnId, UserId
from docuchat_models.chat import TokenUsage


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
