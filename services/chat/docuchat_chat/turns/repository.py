"""Rows of turns in, domain objects out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from docuchat_chat.answers.domain import Asker, Passage, Source
from docuchat_chat.conversations.ports import OpenedChat
from docuchat_chat.turns.domain import MESSAGE_STATUS, NewTurn, Outcome, StaleTurn, Turn, TurnState
from docuchat_chat.turns.frames import citation_fields, source_fields
from docuchat_chat.turns.ports import KeyHolder
from docuchat_common.db.queries import load_queries
from docuchat_common.ids import ChatId, ChunkId, DocumentId, HoldId, MessageId, TenantId, TurnId, UserId
from docuchat_knowledge.folding import fold
from docuchat_models.chat import TokenUsage

_queries: Any = load_queries("docuchat_chat.turns")


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


def _own(asker: Asker) -> dict[str, Any]:
    return {"tenant_id": asker.tenant_id, "user_id": asker.user_id}
