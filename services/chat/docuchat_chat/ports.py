"""What the use cases need from the world."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from docuchat_chat.domain.model import (
    Asker,
    Chat,
    Hold,
    Library,
    Message,
    NewTurn,
    Outcome,
    Passage,
    PastMessage,
    PromptMessage,
    Received,
    Source,
    StaleTurn,
    Turn,
)
from docuchat_chat.domain.prompt import CountsTokens
from docuchat_common.events.envelope import Event
from docuchat_common.ids import ChatId, ChunkId, CollectionId, DocumentId, HoldId, MessageId, TenantId, TurnId, UserId
from docuchat_models.chat import Piece


@dataclass(frozen=True, slots=True)
class OpenedChat:
    """A chat in which a question's number is reserved; the answer's is the one after it."""

    id: ChatId
    session_id: str
    question_seq: int


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """The turn that an idempotency key stands for."""

    request_hash: str
    turn_id: TurnId
    age: timedelta


class EventSink(Protocol):
    """Publishes events if, and only if, the transaction commits."""

    def add(self, event: Event) -> None:
        """Add an event to the transaction."""
        ...


class ChatStore(Protocol):
    """Chats and messages of one tenant."""

    async def find(self, asker: Asker, *, chat_id: ChatId | None = None, session_key: str | None = None) -> Chat | None:
        """Return the asker's own chat by id, else by session key."""
        ...

    async def history(self, asker: Asker, chat_id: ChatId, limit: int) -> list[PastMessage]:
        """Return the last messages that have text, in order of time."""
        ...

    async def open(self, asker: Asker, chat_id: ChatId, session_key: str | None, title: str) -> OpenedChat:
        """Reserve places for a question and its answer in the chat of this id or session key, made if need be."""
        ...

    async def create(self, asker: Asker, chat_id: ChatId, title: str | None) -> Chat:
        """Make an empty chat."""
        ...

    async def page(
        self, asker: Asker, limit: int, before: tuple[datetime, ChatId] | None, needle: str | None
    ) -> list[Chat]:
        """Return chats, most recently used first; with `needle` (folded) only those that hold it."""
        ...

    async def rename(self, asker: Asker, chat_id: ChatId, title: str) -> Chat | None:
        """Give a chat another title."""
        ...

    async def delete(self, asker: Asker, chat_id: ChatId) -> list[TurnId] | None:
        """Delete a chat with its messages; returns its turns, None when there is no such chat."""
        ...

    async def add_message(
        self, asker: Asker, chat_id: ChatId, message_id: MessageId, content: str, metadata: dict[str, Any]
    ) -> Message | None:
        """Store a user's message that nobody answers."""
        ...

    async def messages(self, asker: Asker, chat_id: ChatId, limit: int, after: int) -> list[Message]:
        """Return messages after a message number, in order of time."""
        ...

    async def find_message(self, asker: Asker, message_id: MessageId) -> Message | None:
        """Return a message of an own chat."""
        ...


class TurnStore(Protocol):
    """Turns and idempotency keys."""

    async def begin(
        self,
        asker: Asker,
        turn: NewTurn,
        chat: OpenedChat,
        question: str,
        question_tokens: int,
        tokenizer: str,
        sources: Sequence[Source],
    ) -> None:
        """Write the question and its turn down."""
        ...

    async def find(self, tenant_id: TenantId, turn_id: TurnId, user_id: UserId | None) -> Turn | None:
        """Return a turn; with `user_id` only this user's, of a chat that is not deleted."""
        ...

    async def finish(self, tenant_id: TenantId, turn_id: TurnId, outcome: Outcome, owner: str, now: datetime) -> bool:
        """Settle a turn that still runs and store its answer; False when it was settled before."""
        ...

    async def claim_key(self, asker: Asker, key: str, request_hash: str, turn_id: TurnId) -> KeyHolder | None:
        """Claim an idempotency key; returns the holder when it is taken."""
        ...

    async def release_key(self, asker: Asker, turn_id: TurnId) -> None:
        """Give a turn's key back."""
        ...

    async def heartbeat(self, turn_ids: Sequence[TurnId]) -> None:
        """Show life for the turns that this process runs (system role)."""
        ...

    async def stale(self, older_than: timedelta, limit: int) -> list[StaleTurn]:
        """Return running turns without a sign of life (system role)."""
        ...

    async def forget_keys(self, older_than: timedelta) -> None:
        """Drop idempotency keys past their life (system role)."""
        ...


@dataclass(frozen=True, slots=True)
class QuestionVector:
    """A question in the embedding space; `vector` is (d,) float32, typed `Any` because the domain knows no arrays."""

    vector: Any
    provider: str
    model: str
    tokens: int
    estimated: bool
    billable: bool


class QuestionEmbedder(Protocol):
    """Embeds questions."""

    @property
    def billable(self) -> bool:
        """Whether a provider is asked, and paid."""
        ...

    async def embed(self, question: str) -> QuestionVector:
        """Return the question's vector. Raises RateLimited or UpstreamUnavailable."""
        ...


class PassageSearch(Protocol):
    """Finds passages in the tenant's live documents."""

    async def search(
        self,
        tenant_id: TenantId,
        question: str,
        vector: QuestionVector | None,
        limit: int,
        document_ids: Sequence[DocumentId] | None,
        collection_id: CollectionId | None,
    ) -> list[Passage]:
        """Return the best passages, best first; without a vector by words alone."""
        ...

    async def library(
        self, tenant_id: TenantId, document_ids: Sequence[DocumentId] | None, collection_id: CollectionId | None
    ) -> Library:
        """Return how many documents are ready, being processed, failed."""
        ...

    async def passages(self, tenant_id: TenantId, chunk_ids: Sequence[ChunkId]) -> list[Passage]:
        """Return the passages that still exist."""
        ...


@dataclass(frozen=True, slots=True)
class ChatTx:
    """One transaction: stores, search and outbox."""

    chats: ChatStore
    turns: TurnStore
    search: PassageSearch
    outbox: EventSink


class Transactions(Protocol):
    """Opens units of work."""

    def __call__(self, tenant_id: TenantId) -> AbstractAsyncContextManager[ChatTx]:
        """Open a transaction inside one tenant."""
        ...

    def system(self) -> AbstractAsyncContextManager[ChatTx]:
        """Open a transaction across tenants, for sweeps."""
        ...


class Holds(Protocol):
    """The usage service's holds on quotas."""

    async def open(self, asker: Asker, model: str, input_tokens: int, max_output_tokens: int) -> Hold:
        """Keep tokens back. Raises QuotaExceeded with the reset time, UpstreamUnavailable."""
        ...

    async def renew(self, hold_id: HoldId, tokens: int | None = None) -> None:
        """Renew the lease, and shrink the hold when `tokens` is given; trouble is logged, not raised."""
        ...

    async def release(self, hold_id: HoldId) -> None:
        """Give a hold back of which nothing was used; trouble is logged (the lease runs out), not raised."""
        ...


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """What a model is asked."""

    model: str
    messages: tuple[PromptMessage, ...]
    sources: tuple[Source, ...]
    question: str
    max_output_tokens: int
    tenant_id: TenantId


class AnswerModel(Protocol):
    """A language model, or what stands in for one."""

    @property
    def provider(self) -> str:
        """The provider's name in the books."""
        ...

    def answer(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        """Stream an answer. Raises Provider… errors; nothing is retried inside. Closing the iterator ends the call."""
        ...


class CounterFor(Protocol):
    """Gives the token counter of a model."""

    def __call__(self, model: str) -> CountsTokens:
        """Return the counter; cheap, counters are kept."""
        ...


class PublishedLog(Protocol):
    """A running turn's frames as the board reads them: the index is the frame's number."""

    tenant_id: TenantId
    turn_id: TurnId
    frames: list[bytes]
    accepted: bool
    closed: bool


class TurnBoard(Protocol):
    """Where running turns are visible to other processes."""

    def publish(self, log: PublishedLog) -> None:
        """Note that a log has new frames; they are copied out in the background."""
        ...

    def read(self, tenant_id: TenantId, turn_id: TurnId, after: int) -> AsyncIterator[tuple[int, bytes, bool]]:
        """Follow a turn of another process from the frame after `after` (-1: all): number, frame, whether it ends.

        Yields (-1, b"", False) now and then while nothing comes, so that the reader can look elsewhere.
        """
        ...

    async def received(self, tenant_id: TenantId, turn_id: TurnId) -> Received:
        """Return what a dead process had published of a turn."""
        ...

    async def close(self, tenant_id: TenantId, turn_id: TurnId, seq: int, frame: bytes) -> None:
        """Write a turn's last frame for its dead owner."""
        ...

    async def forget(self, tenant_id: TenantId, turn_ids: Sequence[TurnId]) -> None:
        """Remove what was published of these turns."""
        ...

    async def ask_to_stop(self, turn_id: TurnId) -> None:
        """Tell the process that runs a turn to stop it."""
        ...

    async def show_life(self, owner: str) -> None:
        """Say that a process lives."""
        ...

    async def is_alive(self, owner: str) -> bool:
        """Tell whether a process showed life lately."""
        ...
