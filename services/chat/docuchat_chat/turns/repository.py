"""Rows of turns in, domain objects out."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from docuchat_chat.answers.snapshots import citation_fields, source_fields, source_of
from docuchat_chat.conversations.ports import OpenedChat
from docuchat_chat.turns.domain import (
    MESSAGE_STATUS,
    Fallback,
    OrphanedTurn,
    Outcome,
    Question,
    Settlement,
    Turn,
    TurnState,
    metadata_of,
)
from docuchat_common.db.queries import load_queries
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatbotId, ChatId, HoldId, MessageId, TenantId, TurnId
from docuchat_common.metering import Used, without_waiting
from docuchat_knowledge.folding import fold

_queries: Any = load_queries("docuchat_chat.turns")

LOCK_CLASS = 0x0D0C_0002
"""First key of the advisory locks that stand for living chat processes."""
RESTART_GRACE = timedelta(seconds=5)
"""After a restart of the server, processes have this long to take their locks again."""
_LIVING = {"lock_class": LOCK_CLASS, "restart_grace": RESTART_GRACE}


class TurnRepository:
    """Turns."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def begin(self, turn: Turn, chat: OpenedChat, question: Question | None, tokenizer: str) -> None:
        """Write a turn down, and its question unless that is there."""
        await _queries.begin_turn(
            self._connection,
            **_own(turn.caller),
            subject_type=turn.caller.subject_type,
            turn_id=turn.id,
            chat_id=turn.chat_id,
            session_id=turn.session_id,
            user_message_id=turn.user_message_id,
            message_id=turn.message_id,
            answer_seq=chat.answer_seq,
            **_question(question),
            tokenizer=tokenizer,
            model=turn.model,
            provider=turn.provider,
            provider_model=_provider_model(turn),
            hold_id=turn.hold_id,
            prompt_tokens=turn.prompt_tokens,
            sources=orjson.dumps([source_fields(source) for source in turn.sources]).decode(),
            notice=turn.notice,
            searched_as=turn.searched_as,
            owner=turn.owner,
            key_owner_id=turn.caller.owner_id,
            key_id=turn.caller.key_id,
            chatbot_id=turn.chatbot_id,
            chatbot_version=turn.chatbot_version,
            fallback=_fallback_json(turn.fallback),
            given=orjson.dumps(turn.given).decode() if turn.given else None,
        )

    async def move_on(self, turn: Turn) -> bool:
        """Let a turn that still runs stand for the call of its second model; False when it is settled, or does."""
        moved = await _queries.move_on(
            self._connection,
            tenant_id=turn.tenant_id,
            turn_id=turn.id,
            model=turn.model,
            provider=turn.provider,
            provider_model=_provider_model(turn),
            hold_id=turn.hold_id,
            prompt_tokens=turn.prompt_tokens,
            fallback=_fallback_json(turn.fallback),
        )
        return moved is not None

    async def find(self, tenant_id: TenantId, turn_id: TurnId, caller: Caller | None) -> Turn | None:
        """Return a turn; with `caller` only the caller's own, of a chat that is not deleted."""
        row = await _queries.find_turn(
            self._connection,
            tenant_id=tenant_id,
            turn_id=turn_id,
            subject_id=caller.subject_id if caller is not None else None,
        )
        return _turn(row) if row is not None else None

    async def finish(self, turn: Turn, outcome: Outcome, owner: str) -> Settlement:
        """Settle a turn that still runs and store its answer."""
        usage = outcome.usage
        row = await _queries.finish_turn(
            self._connection,
            tenant_id=turn.tenant_id,
            turn_id=turn.id,
            is_fallback=turn.fallback is not None,
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
            now=outcome.finished_at,
            content=outcome.text,
            content_key=fold(outcome.text),
            tokens=outcome.text_tokens,
            tokenizer=outcome.tokenizer,
            citations=orjson.dumps([citation_fields(citation) for citation in outcome.citations]).decode(),
            usage=_usage_json(usage),
            status=MESSAGE_STATUS[outcome.state].value,
            metadata=orjson.dumps(metadata_of(turn, outcome)).decode(),
        )
        if not row["settled"]:
            return Settlement.DONE_BEFORE
        if row["kept"]:
            return Settlement.DONE
        await _queries.delete_turn(self._connection, tenant_id=turn.tenant_id, turn_id=turn.id)
        return Settlement.CHAT_GONE

    async def orphans(self, owner: str, known: Collection[TurnId], limit: int) -> list[OrphanedTurn]:
        """Return running turns of processes that are gone, and those of `owner` but the `known` (system role)."""
        rows = _queries.list_orphans(self._connection, owner=owner, known=list(known), row_limit=limit, **_LIVING)
        return [OrphanedTurn(TenantId(row["tenant_id"]), TurnId(row["id"]), row["owner"]) async for row in rows]

    async def list_running(self, tenant_id: TenantId) -> list[TurnId]:
        """Return the turns of a tenant that are not settled (system role)."""
        rows = _queries.list_running(self._connection, tenant_id=tenant_id)
        return [TurnId(row["id"]) async for row in rows]

    async def is_alive(self, owner: str) -> bool:
        """Tell whether a process shows its sign of life (system role)."""
        alive: bool = await _queries.is_alive(self._connection, owner=owner, **_LIVING)
        return alive

    async def count_open(self, owner: str) -> int:
        """Return how many turns of a process are not settled (system role)."""
        count: int = await _queries.count_open(self._connection, owner=owner)
        return count

    async def list_unbooked(self, patience: timedelta, limit: int) -> list[tuple[TenantId, UUID]]:
        """Return turns with usage that the ledger was not yet seen to have (system role)."""
        rows = [row async for row in _queries.list_unbooked(self._connection, patience=patience, row_limit=limit)]
        return await without_waiting(self._connection, "chat", rows)

    async def announce_again(self, tenant_id: TenantId, turn_id: TurnId, patience: timedelta) -> bool:
        """Note that a turn's usage is announced again; False when that was just done."""
        noted = await _queries.announce_again(self._connection, tenant_id=tenant_id, turn_id=turn_id, patience=patience)
        return noted is not None

    async def confirm_booked(self, call_ids: list[UUID]) -> None:
        """Note that the ledger has these turns (system role)."""
        await _queries.confirm_booked(self._connection, turn_ids=call_ids)

    async def purge_not_kept(self, *, older_than: timedelta, limit: int) -> list[tuple[TenantId, list[TurnId]]]:
        """Delete chats that are not kept and are booked (system role). Returns whose turns went with each."""
        rows = _queries.purge_not_kept(self._connection, older_than=older_than, row_limit=limit)
        return [(TenantId(row["tenant_id"]), [TurnId(each) for each in row["turn_ids"]]) async for row in rows]

    async def purge(self, *, turns_after: timedelta, chats_after: timedelta | None, limit: int) -> int:
        """Delete what is past its life: deleted chats, old turns, old chats (system role). Returns how many rows."""
        turns = await _queries.purge_turns(self._connection, older_than=turns_after, row_limit=limit)
        chats = await _queries.purge_chats(self._connection, older_than=chats_after, row_limit=limit)
        return sum(int(status.rpartition(" ")[2]) for status in (turns, chats))


def _own(caller: Caller) -> dict[str, Any]:
    return {"tenant_id": caller.tenant_id, "subject_id": caller.subject_id}


def _question(question: Question | None) -> dict[str, Any]:
    if question is None:
        return {"question": None, "question_key": "", "question_tokens": None, "scope": None}
    scope: dict[str, Any] = {}
    if question.document_ids is not None or question.collection_id is not None:
        scope = {"document_ids": question.document_ids, "collection_id": question.collection_id}
    if question.attachments:
        scope["attachments"] = question.attachments
    return {
        "question": question.text,
        "question_key": fold(question.text),
        "question_tokens": question.tokens,
        "scope": orjson.dumps(scope).decode() if scope else None,
    }


def _turn(row: asyncpg.Record) -> Turn:
    settled = row["input_tokens"] is not None
    return Turn(
        id=TurnId(row["id"]),
        caller=Caller(
            TenantId(row["tenant_id"]),
            row["subject_type"],
            row["subject_id"],
            owner_id=row["key_owner_id"],
            key_id=row["key_id"],
        ),
        chat_id=ChatId(row["chat_id"]),
        session_id=row["session_id"],
        user_message_id=MessageId(row["user_message_id"]),
        message_id=MessageId(row["message_id"]),
        model=row["model"],
        provider=row["provider"],
        provider_model=row["provider_model"] or row["model"],
        hold_id=HoldId(row["hold_id"]) if row["hold_id"] is not None else None,
        prompt_tokens=row["prompt_tokens"],
        owner=row["owner"],
        created_at=row["created_at"],
        sources=tuple(source_of(fields) for fields in orjson.loads(row["sources"])),
        notice=row["notice"],
        chatbot_id=ChatbotId(row["chatbot_id"]) if row["chatbot_id"] is not None else None,
        chatbot_version=row["chatbot_version"],
        fallback=_fallback(row["fallback"]),
        state=TurnState(row["state"]),
        usage=Used(row["input_tokens"], row["output_tokens"], row["estimated"]) if settled else None,
        searched_as=row["searched_as"],
        given=orjson.loads(row["given"]) if row["given"] is not None else None,
        finish_reason=row["finish_reason"],
        frame_lengths=tuple(row["frame_lengths"]),
        error_code=row["error_code"],
        error_message=row["error_message"],
        retry_after_seconds=row["retry_after_seconds"],
        finished_at=row["finished_at"],
    )


def _provider_model(turn: Turn) -> str | None:
    return turn.provider_model if turn.provider_model != turn.model else None


def _fallback_json(fallback: Fallback | None) -> str | None:
    if fallback is None:
        return None
    hold_id = str(fallback.hold_id) if fallback.hold_id is not None else None
    return orjson.dumps({"from": fallback.model, "reason": fallback.reason, "hold_id": hold_id}).decode()


def _fallback(stored: str | None) -> Fallback | None:
    if stored is None:
        return None
    fields = orjson.loads(stored)
    hold_id = HoldId(UUID(fields["hold_id"])) if fields["hold_id"] is not None else None
    return Fallback(fields["from"], fields["reason"], hold_id)


def _usage_json(usage: Used | None) -> str | None:
    if usage is None:
        return None
    fields = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens, "estimated": usage.estimated}
    return orjson.dumps(fields).decode()
