"""Rows in, domain objects out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from docuchat_chat.domain.model import (
    MESSAGE_STATUS,
    Asker,
    Chat,
    Citation,
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
from docuchat_chat.errors import ChatNotFound
from docuchat_chat.frames import citation_fields, source_fields
from docuchat_chat.ports import KeyHolder, OpenedChat
from docuchat_common.db.queries import load_queries
from docuchat_common.ids import ChatId, ChunkId, DocumentId, HoldId, MessageId, TenantId, TurnId, UserId
from docuchat_knowledge.folding import fold
from docuchat_models.chat import TokenUsage

_queries: Any = load_queries("docuchat_chat")


class ChatRepository:
    """Chats and messages."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find(self, asker: Asker, *, chat_id: ChatId | None = None, session_key: str | None = None) -> Chat | None:
        """Return the asker's own chat by id, else by session key."""
        row = await _queries.find_chat(self._connection, **_own(asker), chat_id=chat_id, session_key=session_key)
        return _chat(row) if row is not None else None

    async def history(self, asker: Asker, chat_id: ChatId, limit: int) -> list[PastMessage]:
        """Return the last messages that have text, in order of time."""
        rows = [
            row
            async for row in _queries.list_history(
                self._connection, tenant_id=asker.tenant_id, chat_id=chat_id, row_limit=limit
            )
        ]
        return [PastMessage(row["role"], row["content"], row["tokens"], row["tokenizer"]) for row in reversed(rows)]

    async def open(self, asker: Asker, chat_id: ChatId, session_key: str | None, title: str) -> OpenedChat:
        """Reserve places for a question and its answer in the chat of this id or session key, made if need be."""
        if session_key is None:
            opened = await _queries.open_chat(
                self._connection, **_own(asker), chat_id=chat_id, title=title, title_key=fold(title)
            )
            if opened is None:
                raise ChatNotFound
        else:
            opened = await self._continue(asker, chat_id, title, places=2)
        if opened is None:
            made = await _queries.create_chat(
                self._connection,
                **_own(asker),
                chat_id=chat_id,
                session_key=session_key,
                title=title,
                title_key=fold(title),
            )
            if made is None:
                other = await self.find(asker, session_key=session_key)
                if other is None:
                    raise ChatNotFound
                chat_id = other.id
            opened = await self._continue(asker, chat_id, title, places=2)
            if opened is None:
                raise ChatNotFound
        chat = _chat(opened)
        return OpenedChat(chat.id, chat.session_id, opened["last_seq"] - 1)

    async def create(self, asker: Asker, chat_id: ChatId, title: str | None) -> Chat:
        """Make an empty chat."""
        row = await _queries.create_chat(
            self._connection, **_own(asker), chat_id=chat_id, session_key=None, title=title, title_key=fold(title or "")
        )
        return _chat(row)

    async def page(
        self, asker: Asker, limit: int, before: tuple[datetime, ChatId] | None, needle: str | None
    ) -> list[Chat]:
        """Return chats, most recently used first; with `needle` (folded) only those that hold it."""
        before_time, before_id = before if before is not None else (None, None)
        page = {**_own(asker), "row_limit": limit, "before_time": before_time, "before_id": before_id}
        found = (
            _queries.list_chats(self._connection, **page)
            if needle is None
            else _queries.search_chats(self._connection, **page, needle=needle)
        )
        return [_chat(row) async for row in found]

    async def rename(self, asker: Asker, chat_id: ChatId, title: str) -> Chat | None:
        """Give a chat another title."""
        row = await _queries.rename_chat(
            self._connection, **_own(asker), chat_id=chat_id, title=title, title_key=fold(title)
        )
        return _chat(row) if row is not None else None

    async def delete(self, asker: Asker, chat_id: ChatId) -> list[TurnId] | None:
        """Delete a chat with its messages; returns its turns, None when there is no such chat."""
        row = await _queries.delete_chat(self._connection, **_own(asker), chat_id=chat_id)
        return [TurnId(turn_id) for turn_id in row["turn_ids"]] if row is not None else None

    async def add_message(
        self, asker: Asker, chat_id: ChatId, message_id: MessageId, content: str, metadata: dict[str, Any]
    ) -> Message | None:
        """Store a user's message that nobody answers."""
        chat = await self._continue(asker, chat_id, None, places=1)
        if chat is None:
            return None
        row = await _queries.add_message(
            self._connection,
            message_id=message_id,
            tenant_id=asker.tenant_id,
            chat_id=chat_id,
            seq=chat["last_seq"],
            role="user",
            content=content,
            content_key=fold(content),
            tokens=None,
            tokenizer=None,
            status=MessageStatus.COMPLETE.value,
            metadata=orjson.dumps(metadata).decode(),
        )
        return _message(row)

    async def messages(self, asker: Asker, chat_id: ChatId, limit: int, after: int) -> list[Message]:
        """Return messages after a message number, in order of time."""
        rows = _queries.list_messages(
            self._connection, tenant_id=asker.tenant_id, chat_id=chat_id, after=after, row_limit=limit
        )
        return [_message(row) async for row in rows]

    async def find_message(self, asker: Asker, message_id: MessageId) -> Message | None:
        """Return a message of an own chat."""
        row = await _queries.find_message(self._connection, **_own(asker), message_id=message_id)
        return _message(row) if row is not None else None

    async def _continue(
        self, asker: Asker, chat_id: ChatId, title: str | None, *, places: int
    ) -> asyncpg.Record | None:
        row: asyncpg.Record | None = await _queries.continue_chat(
            self._connection, **_own(asker), chat_id=chat_id, title=title, title_key=fold(title or ""), places=places
        )
        return row


class TurnRepository:
    """Turns and idempotency keys."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

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
        await _queries.begin_turn(
            self._connection,
            **_own(asker),
            turn_id=turn.id,
            chat_id=chat.id,
            session_id=chat.session_id,
            user_message_id=turn.user_message_id,
            message_id=turn.message_id,
            question_seq=chat.question_seq,
            question=question,
            question_key=fold(question),
            question_tokens=question_tokens,
            tokenizer=tokenizer,
            model=turn.model,
            provider=turn.provider,
            hold_id=turn.hold_id,
            prompt_tokens=turn.prompt_tokens,
            sources=orjson.dumps([source_fields(source) for source in sources]).decode(),
            owner=turn.owner,
        )

    async def find(self, tenant_id: TenantId, turn_id: TurnId, user_id: UserId | None) -> Turn | None:
        """Return a turn; with `user_id` only this user's, of a chat that is not deleted."""
        row = await _queries.find_turn(self._connection, tenant_id=tenant_id, turn_id=turn_id, user_id=user_id)
        return _turn(row) if row is not None else None

    async def finish(self, tenant_id: TenantId, turn_id: TurnId, outcome: Outcome, owner: str, now: datetime) -> bool:
        """Settle a turn that still runs and store its answer; False when it was settled before."""
        usage = outcome.usage
        settled: bool = await _queries.finish_turn(
            self._connection,
            tenant_id=tenant_id,
            turn_id=turn_id,
            state=outcome.state.value,
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            estimated=usage.estimated if usage else None,
            finish_reason=outcome.finish_reason,
            frame_lengths=list(outcome.frame_lengths),
            error_code=outcome.error_code,
            error_message=outcome.error_message,
            retry_after_seconds=outcome.retry_after_seconds,
            not_cited=list(outcome.not_cited),
            owner=owner,
            now=now,
            content=outcome.text,
            content_key=fold(outcome.text),
            tokens=outcome.text_tokens,
            tokenizer=outcome.tokenizer,
            citations=orjson.dumps([citation_fields(citation) for citation in outcome.citations]).decode(),
            usage=_usage_json(usage),
            status=MESSAGE_STATUS[outcome.state].value,
            metadata=orjson.dumps(
                {"finish_reason": outcome.finish_reason, "not_cited": list(outcome.not_cited)}
            ).decode(),
        )
        return settled

    async def claim_key(self, asker: Asker, key: str, request_hash: str, turn_id: TurnId) -> KeyHolder | None:
        """Claim an idempotency key; returns the holder when it is taken."""
        claimed = await _queries.claim_idempotency_key(
            self._connection, **_own(asker), key=key, request_hash=request_hash, turn_id=turn_id
        )
        if claimed is not None:
            return None
        row = await _queries.find_idempotency_key(self._connection, **_own(asker), key=key)
        if row is None:
            # The holder gave it back between the two statements: as if it had only just begun.
            return KeyHolder(request_hash, turn_id, timedelta())
        return KeyHolder(row["request_hash"], TurnId(row["turn_id"]), timedelta(seconds=row["age_seconds"]))

    async def release_key(self, asker: Asker, turn_id: TurnId) -> None:
        """Give a turn's key back."""
        await _queries.release_idempotency_key(self._connection, **_own(asker), turn_id=turn_id)

    async def heartbeat(self, turn_ids: Sequence[TurnId]) -> None:
        """Show life for the turns that this process runs (system role)."""
        await _queries.heartbeat(self._connection, turn_ids=list(turn_ids))

    async def stale(self, older_than: timedelta, limit: int) -> list[StaleTurn]:
        """Return running turns without a sign of life (system role)."""
        rows = _queries.list_stale_turns(self._connection, older_than=older_than, row_limit=limit)
        return [StaleTurn(TenantId(row["tenant_id"]), TurnId(row["id"]), row["owner"]) async for row in rows]

    async def forget_keys(self, older_than: timedelta) -> None:
        """Drop idempotency keys past their life (system role)."""
        await _queries.forget_idempotency_keys(self._connection, older_than=older_than)


def _own(asker: Asker) -> dict[str, Any]:
    return {"tenant_id": asker.tenant_id, "user_id": asker.user_id}


def _chat(row: asyncpg.Record) -> Chat:
    return Chat(
        id=ChatId(row["id"]),
        user_id=UserId(row["user_id"]),
        session_key=row["session_key"],
        title=row["title"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        message_count=row["message_count"],
    )


def _message(row: asyncpg.Record) -> Message:
    usage = orjson.loads(row["usage"]) if row["usage"] is not None else None
    return Message(
        id=MessageId(row["id"]),
        chat_id=ChatId(row["chat_id"]),
        seq=row["seq"],
        role=row["role"],
        content=row["content"],
        citations=tuple(_citation(fields) for fields in orjson.loads(row["citations"])),
        usage=TokenUsage(usage["input_tokens"], usage["output_tokens"], usage["estimated"]) if usage else None,
        model=row["model"],
        status=MessageStatus(row["status"]),
        metadata=orjson.loads(row["metadata"]),
        created_at=row["created_at"],
    )


def _citation(fields: dict[str, Any]) -> Citation:
    return Citation(
        number=fields["number"],
        chunk_id=ChunkId(UUID(fields["chunk_id"])),
        document_id=DocumentId(UUID(fields["document_id"])),
        title=fields["title"],
        filename=fields["filename"],
        page=fields["page"],
        page_to=fields["page_to"],
        quote=fields["quote"],
        score=fields["score"],
    )


def _source(fields: dict[str, Any]) -> Source:
    passage = Passage(
        chunk_id=ChunkId(UUID(fields["chunk_id"])),
        document_id=DocumentId(UUID(fields["document_id"])),
        title=fields["title"],
        filename=fields["filename"],
        page=fields["page"],
        page_to=fields["page_to"],
        text="",
        score=fields["score"],
    )
    return Source(fields["number"], passage)


def _turn(row: asyncpg.Record) -> Turn:
    settled = row["input_tokens"] is not None
    return Turn(
        id=TurnId(row["id"]),
        tenant_id=TenantId(row["tenant_id"]),
        user_id=UserId(row["user_id"]),
        chat_id=ChatId(row["chat_id"]),
        session_id=row["session_id"],
        user_message_id=MessageId(row["user_message_id"]),
        message_id=MessageId(row["message_id"]),
        model=row["model"],
        provider=row["provider"],
        hold_id=HoldId(row["hold_id"]) if row["hold_id"] is not None else None,
        prompt_tokens=row["prompt_tokens"],
        owner=row["owner"],
        state=TurnState(row["state"]),
        sources=tuple(_source(fields) for fields in orjson.loads(row["sources"])),
        usage=TokenUsage(row["input_tokens"], row["output_tokens"], row["estimated"]) if settled else None,
        finish_reason=row["finish_reason"],
        frame_lengths=tuple(row["frame_lengths"]),
        error_code=row["error_code"],
        error_message=row["error_message"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
    )


def _usage_json(usage: TokenUsage | None) -> str | None:
    if usage is None:
        return None
    return orjson.dumps(
        {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
            "estimated": usage.estimated,
        }
    ).decode()
