"""The in-memory twin of the database, for tests; the contract tests hold it to what the real one does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from docuchat_chat.domain.model import (
    MESSAGE_STATUS,
    Asker,
    Chat,
    Library,
    Message,
    MessageStatus,
    NewTurn,
    Outcome,
    Passage,
    PastMessage,
    Source,
    StaleTurn,
    Turn,
    TurnState,
)
from docuchat_chat.ports import ChatTx, EventSink, KeyHolder, OpenedChat, QuestionVector
from docuchat_common.events.envelope import Event
from docuchat_common.ids import ChatId, ChunkId, CollectionId, DocumentId, MessageId, TenantId, TurnId, UserId
from docuchat_knowledge.folding import fold


@dataclass
class Tables:
    """What is stored."""

    chats: dict[ChatId, tuple[TenantId, Chat, int, bool]] = field(default_factory=dict)
    messages: dict[MessageId, tuple[TenantId, Message]] = field(default_factory=dict)
    counted: dict[MessageId, tuple[int | None, str | None]] = field(default_factory=dict)
    turns: dict[TurnId, tuple[Turn, int, datetime]] = field(default_factory=dict)
    keys: dict[tuple[TenantId, UserId, str], tuple[str, TurnId, datetime]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


@dataclass
class InMemorySearch:
    """Returns the passages it was given, whatever is asked."""

    found: list[Passage] = field(default_factory=list)
    documents: Library = field(default_factory=lambda: Library(ready=1, processing=0, failed=0))

    async def search(
        self,
        tenant_id: TenantId,
        question: str,
        vector: QuestionVector | None,
        limit: int,
        document_ids: Sequence[DocumentId] | None,
        collection_id: CollectionId | None,
    ) -> list[Passage]:
        """Return the first passages, of the named documents only."""
        return [p for p in self.found if document_ids is None or p.document_id in document_ids][:limit]

    async def library(
        self, tenant_id: TenantId, document_ids: Sequence[DocumentId] | None, collection_id: CollectionId | None
    ) -> Library:
        """Return the counts it was given."""
        return self.documents

    async def passages(self, tenant_id: TenantId, chunk_ids: Sequence[ChunkId]) -> list[Passage]:
        """Return passages by id."""
        return [p for p in self.found if p.chunk_id in chunk_ids]


class InMemoryTransactions:
    """Transactions that work on a copy and replace the tables when they end well."""

    def __init__(self, search: InMemorySearch | None = None) -> None:
        self.tables = Tables()
        self.search = search or InMemorySearch()

    @asynccontextmanager
    async def __call__(self, tenant_id: TenantId) -> AsyncIterator[ChatTx]:
        """Open a transaction."""
        async with self._transaction() as tx:
            yield tx

    @asynccontextmanager
    async def system(self) -> AsyncIterator[ChatTx]:
        """Open a transaction across tenants."""
        async with self._transaction() as tx:
            yield tx

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[ChatTx]:
        before = deepcopy(self.tables)
        try:
            yield ChatTx(
                InMemoryChats(self.tables), InMemoryTurns(self.tables), self.search, InMemoryEvents(self.tables)
            )
        except BaseException:
            vars(self.tables).update(vars(before))
            raise


@dataclass
class InMemoryEvents(EventSink):
    """Keeps events."""

    tables: Tables

    def add(self, event: Event) -> None:
        """Keep an event."""
        self.tables.events.append(event)


class InMemoryChats:
    """Chats and messages."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def _own(self, asker: Asker) -> list[Chat]:
        return [
            chat
            for tenant_id, chat, _, deleted in self._tables.chats.values()
            if tenant_id == asker.tenant_id and chat.user_id == asker.user_id and not deleted
        ]

    async def find(self, asker: Asker, *, chat_id: ChatId | None = None, session_key: str | None = None) -> Chat | None:
        """Return a chat by id, else by key."""
        own = self._own(asker)
        by_id = next((chat for chat in own if chat.id == chat_id), None)
        return by_id or next((c for c in own if session_key is not None and c.session_key == session_key), None)

    async def history(self, asker: Asker, chat_id: ChatId, limit: int) -> list[PastMessage]:
        """Return the last messages with text."""
        found = [m for m in await self.messages(asker, chat_id, 10**9, 0) if m.content]
        return [
            PastMessage("user" if m.role == "user" else "assistant", m.content, *self._tables.counted[m.id])
            for m in found[-limit:]
        ]

    async def open(self, asker: Asker, chat_id: ChatId, session_key: str | None, title: str) -> OpenedChat:
        """Reserve places for a question and its answer."""
        if await self.find(asker, chat_id=chat_id) is None:
            other = await self.find(asker, session_key=session_key) if session_key is not None else None
            chat_id = other.id if other is not None else self._make(asker, chat_id, session_key, title).id
        chat, last_seq = self._reserve(asker, chat_id, title, 2)
        return OpenedChat(chat.id, chat.session_id, last_seq - 1)

    async def create(self, asker: Asker, chat_id: ChatId, title: str | None) -> Chat:
        """Make a chat."""
        return self._make(asker, chat_id, None, title)

    async def page(
        self, asker: Asker, limit: int, before: tuple[datetime, ChatId] | None, needle: str | None
    ) -> list[Chat]:
        """Return chats, most recently used first."""
        found = sorted(self._own(asker), key=lambda c: (c.updated_at, c.id), reverse=True)
        if before is not None:
            found = [c for c in found if (c.updated_at, c.id) < before]
        if needle is not None:
            texts = [m for _, m in self._tables.messages.values()]
            found = [
                c
                for c in found
                if needle in fold(c.title or "") or any(m.chat_id == c.id and needle in fold(m.content) for m in texts)
            ]
        return found[:limit]

    async def rename(self, asker: Asker, chat_id: ChatId, title: str) -> Chat | None:
        """Rename a chat."""
        chat = await self.find(asker, chat_id=chat_id)
        if chat is None:
            return None
        tenant_id, _, seq, _ = self._tables.chats[chat_id]
        renamed = replace(chat, title=title, updated_at=datetime.now(UTC))
        self._tables.chats[chat_id] = (tenant_id, renamed, seq, False)
        return renamed

    async def delete(self, asker: Asker, chat_id: ChatId) -> list[TurnId] | None:
        """Delete a chat."""
        chat = await self.find(asker, chat_id=chat_id)
        if chat is None:
            return None
        tenant_id, _, seq, _ = self._tables.chats[chat_id]
        emptied = replace(chat, title=None, session_key=None, message_count=0)
        self._tables.chats[chat_id] = (tenant_id, emptied, seq, True)
        for message_id in [i for i, (_, m) in self._tables.messages.items() if m.chat_id == chat_id]:
            del self._tables.messages[message_id]
        turns = [t for t, _, _ in self._tables.turns.values() if t.chat_id == chat_id]
        for turn in turns:
            if turn.state is not TurnState.RUNNING:
                del self._tables.turns[turn.id]
        return [turn.id for turn in turns]

    async def add_message(
        self, asker: Asker, chat_id: ChatId, message_id: MessageId, content: str, metadata: dict[str, Any]
    ) -> Message | None:
        """Store a message."""
        if await self.find(asker, chat_id=chat_id) is None:
            return None
        _, seq = self._reserve(asker, chat_id, None, 1)
        return self._store(asker.tenant_id, chat_id, message_id, seq, content, metadata)

    async def messages(self, asker: Asker, chat_id: ChatId, limit: int, after: int) -> list[Message]:
        """Return messages in order of time."""
        found = [m for t, m in self._tables.messages.values() if t == asker.tenant_id and m.chat_id == chat_id]
        return sorted((m for m in found if m.seq > after), key=lambda m: m.seq)[:limit]

    async def find_message(self, asker: Asker, message_id: MessageId) -> Message | None:
        """Return a message of an own chat."""
        tenant_id, message = self._tables.messages.get(message_id, (None, None))
        if message is None or tenant_id != asker.tenant_id:
            return None
        return message if await self.find(asker, chat_id=message.chat_id) is not None else None

    def _make(self, asker: Asker, chat_id: ChatId, session_key: str | None, title: str | None) -> Chat:
        now = datetime.now(UTC)
        chat = Chat(chat_id, asker.user_id, session_key, title, now, now, 0)
        self._tables.chats[chat_id] = (asker.tenant_id, chat, 0, False)
        return chat

    def _reserve(self, asker: Asker, chat_id: ChatId, title: str | None, places: int) -> tuple[Chat, int]:
        tenant_id, chat, last_seq, deleted = self._tables.chats[chat_id]
        chat = replace(
            chat, message_count=chat.message_count + 1, updated_at=datetime.now(UTC), title=chat.title or title
        )
        self._tables.chats[chat_id] = (tenant_id, chat, last_seq + places, deleted)
        return chat, last_seq + places

    def _store(
        self,
        tenant_id: TenantId,
        chat_id: ChatId,
        message_id: MessageId,
        seq: int,
        content: str,
        metadata: dict[str, Any],
        tokens: int | None = None,
        tokenizer: str | None = None,
    ) -> Message:
        message = Message(
            message_id, chat_id, seq, "user", content, (), None, None, MessageStatus.COMPLETE, metadata,
            datetime.now(UTC),
        )  # fmt: skip
        self._tables.messages[message_id] = (tenant_id, message)
        self._tables.counted[message_id] = (tokens, tokenizer)
        return message


class InMemoryTurns:
    """Turns and keys."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

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
        InMemoryChats(self._tables)._store(  # noqa: SLF001 - the same twin
            asker.tenant_id, chat.id, turn.user_message_id, chat.question_seq, question, {}, question_tokens, tokenizer
        )
        now = datetime.now(UTC)
        stored = Turn(
            id=turn.id,
            tenant_id=asker.tenant_id,
            user_id=asker.user_id,
            chat_id=chat.id,
            session_id=chat.session_id,
            user_message_id=turn.user_message_id,
            message_id=turn.message_id,
            model=turn.model,
            provider=turn.provider,
            hold_id=turn.hold_id,
            prompt_tokens=turn.prompt_tokens,
            owner=turn.owner,
            state=TurnState.RUNNING,
            sources=tuple(Source(s.number, replace(s.passage, text="")) for s in sources),
            usage=None,
            finish_reason=None,
            frame_lengths=(),
            error_code=None,
            error_message=None,
            created_at=now,
            finished_at=None,
        )
        self._tables.turns[turn.id] = (stored, chat.question_seq + 1, now)

    async def find(self, tenant_id: TenantId, turn_id: TurnId, user_id: UserId | None) -> Turn | None:
        """Return a turn."""
        turn = self._tables.turns.get(turn_id, (None,))[0]
        if turn is None or turn.tenant_id != tenant_id:
            return None
        if user_id is not None and (turn.user_id != user_id or self._tables.chats[turn.chat_id][3]):
            return None
        return turn

    async def finish(self, tenant_id: TenantId, turn_id: TurnId, outcome: Outcome, owner: str, now: datetime) -> bool:
        """Settle a turn that still runs."""
        turn, seq, beat = self._tables.turns[turn_id]
        if turn.state is not TurnState.RUNNING:
            return False
        done = replace(
            turn,
            state=outcome.state,
            usage=outcome.usage,
            finish_reason=outcome.finish_reason,
            frame_lengths=outcome.frame_lengths,
            error_code=outcome.error_code,
            error_message=outcome.error_message,
            owner=owner,
            finished_at=now,
        )
        self._tables.turns[turn_id] = (done, seq, beat)
        tenant, chat, last_seq, deleted = self._tables.chats[turn.chat_id]
        if not deleted:
            counted = replace(chat, message_count=chat.message_count + 1, updated_at=datetime.now(UTC))
            self._tables.chats[turn.chat_id] = (tenant, counted, last_seq, deleted)
            message = Message(
                id=turn.message_id,
                chat_id=turn.chat_id,
                seq=seq,
                role="assistant",
                content=outcome.text,
                citations=outcome.citations,
                usage=outcome.usage,
                model=turn.model,
                status=MESSAGE_STATUS[outcome.state],
                metadata={"finish_reason": outcome.finish_reason, "not_cited": list(outcome.not_cited)},
                created_at=now,
            )
            self._tables.messages[turn.message_id] = (tenant_id, message)
            self._tables.counted[turn.message_id] = (outcome.text_tokens, outcome.tokenizer)
        return True

    async def claim_key(self, asker: Asker, key: str, request_hash: str, turn_id: TurnId) -> KeyHolder | None:
        """Claim a key."""
        place = (asker.tenant_id, asker.user_id, key)
        if place in self._tables.keys:
            held_hash, held_turn, since = self._tables.keys[place]
            return KeyHolder(held_hash, held_turn, datetime.now(UTC) - since)
        self._tables.keys[place] = (request_hash, turn_id, datetime.now(UTC))
        return None

    async def release_key(self, asker: Asker, turn_id: TurnId) -> None:
        """Give a turn's key back."""
        for place in [p for p, (_, t, _) in self._tables.keys.items() if t == turn_id and p[1] == asker.user_id]:
            del self._tables.keys[place]

    async def heartbeat(self, turn_ids: Sequence[TurnId]) -> None:
        """Show life."""
        for turn_id in turn_ids:
            turn, seq, _ = self._tables.turns[turn_id]
            self._tables.turns[turn_id] = (turn, seq, datetime.now(UTC))

    async def stale(self, older_than: timedelta, limit: int) -> list[StaleTurn]:
        """Return running turns without a sign of life."""
        edge = datetime.now(UTC) - older_than
        found = [t for t, _, beat in self._tables.turns.values() if t.state is TurnState.RUNNING and beat < edge]
        return [StaleTurn(t.tenant_id, t.id, t.owner) for t in found[:limit]]

    async def forget_keys(self, older_than: timedelta) -> None:
        """Drop old keys."""
        edge = datetime.now(UTC) - older_than
        for place in [p for p, (_, _, since) in self._tables.keys.items() if since < edge]:
            del self._tables.keys[place]
