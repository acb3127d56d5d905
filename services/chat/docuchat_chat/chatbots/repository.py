"""Rows of chatbots in, domain objects out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import asyncpg
import orjson

from docuchat_chat.answers.setup import AnswerPolicy
from docuchat_chat.chatbots.domain import Chatbot, Colours, Config, EditedChatbot, NewChatbot, NoteId, Untold, Version
from docuchat_common.db.queries import load_queries
from docuchat_common.ids import ChatbotId, CollectionId, TenantId, uuid7
from docuchat_knowledge.folding import fold

_queries: Any = load_queries("docuchat_chat.chatbots")


class ChatbotRepository:
    """Chatbots and their versions."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find_tenant(self, chatbot_id: ChatbotId) -> TenantId | None:
        """Return whose a chatbot is (system role)."""
        tenant_id: int | None = await _queries.find_tenant(self._connection, chatbot_id=chatbot_id)
        return TenantId(tenant_id) if tenant_id is not None else None

    async def find_live(self, tenant_id: TenantId, chatbot_id: ChatbotId) -> tuple[Chatbot, Version | None] | None:
        """Return a chatbot and what is live of it, by one statement."""
        row = await _queries.find_live(self._connection, tenant_id=tenant_id, chatbot_id=chatbot_id)
        return (_chatbot(row), _version_beside(row)) if row is not None else None

    async def find_version(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, number: int
    ) -> tuple[Chatbot, Version | None] | None:
        """Return a chatbot and one of its versions, by one statement."""
        row = await _queries.find_version(self._connection, tenant_id=tenant_id, chatbot_id=chatbot_id, version=number)
        return (_chatbot(row), _version_beside(row)) if row is not None else None

    async def find_edited(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, *, lock: bool = False
    ) -> EditedChatbot | None:
        """Return a chatbot with its draft; with `lock` nobody else edits it until the transaction ends."""
        whose = {"tenant_id": tenant_id, "chatbot_id": chatbot_id}
        if lock and await _queries.lock_chatbot(self._connection, **whose) is None:
            return None
        row = await _queries.find_edited(self._connection, **whose)
        return _edited(row) if row is not None else None

    async def page(
        self, tenant_id: TenantId, limit: int, before: ChatbotId | None, needle: str | None, *, live_only: bool
    ) -> list[EditedChatbot]:
        """Return chatbots, newest first; with `needle` (folded) those whose name holds it."""
        rows = _queries.list_chatbots(
            self._connection, tenant_id=tenant_id, before=before, needle=needle, live_only=live_only, row_limit=limit
        )
        return [_edited(row) async for row in rows]

    async def count(self, tenant_id: TenantId) -> int:
        """Return how many there are; who counts goes on alone until the transaction ends."""
        await _queries.count_in_turn(self._connection, tenant_id=tenant_id)
        counted: int = await _queries.count_chatbots(self._connection, tenant_id=tenant_id)
        return counted

    async def add(self, tenant_id: TenantId, chatbot_id: ChatbotId, new: NewChatbot) -> EditedChatbot:
        """Make one."""
        await _queries.add_chatbot(
            self._connection, tenant_id=tenant_id, chatbot_id=chatbot_id, **_columns(new), draft=_json(new.config)
        )
        return await self._edited(tenant_id, chatbot_id)

    async def save(self, chatbot: Chatbot, draft: Config) -> EditedChatbot:
        """Keep an edit of a locked chatbot, as its next revision."""
        await _queries.save_chatbot(
            self._connection,
            tenant_id=chatbot.tenant_id,
            chatbot_id=chatbot.id,
            **_columns(chatbot),
            draft=_json(draft),
        )
        return await self._edited(chatbot.tenant_id, chatbot.id)

    async def publish(self, chatbot: Chatbot, config: Config, restored_from: int | None) -> Version:
        """Make the next version of a locked chatbot, and make it live."""
        row = await _queries.publish(
            self._connection,
            tenant_id=chatbot.tenant_id,
            chatbot_id=chatbot.id,
            config=_json(config),
            restored_from=restored_from,
        )
        return _version(row, chatbot.id)

    async def unpublish(self, chatbot: Chatbot) -> None:
        """Let no version be live."""
        await _queries.unpublish(self._connection, tenant_id=chatbot.tenant_id, chatbot_id=chatbot.id)

    async def versions(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, limit: int, before: int | None
    ) -> list[Version]:
        """Return versions, newest first."""
        rows = _queries.list_versions(
            self._connection, tenant_id=tenant_id, chatbot_id=chatbot_id, before=before, row_limit=limit
        )
        return [_version(row, chatbot_id) async for row in rows]

    async def remove(self, tenant_id: TenantId, chatbot_id: ChatbotId) -> bool:
        """Delete a chatbot with its versions and remember that it is gone; False when there is none."""
        gone = await _queries.remove_chatbot(self._connection, tenant_id=tenant_id, chatbot_id=chatbot_id)
        return gone is not None

    async def list_gone(self, tenant_id: TenantId, chatbot_ids: Sequence[ChatbotId]) -> list[ChatbotId]:
        """Return those of these chatbots that are not there."""
        rows = _queries.list_gone(self._connection, tenant_id=tenant_id, chatbot_ids=chatbot_ids)
        return [ChatbotId(row["id"]) async for row in rows]

    async def note_untold(self, tenant_id: TenantId, chatbot_id: ChatbotId) -> NoteId:
        """Note that auth is about to be told of a chatbot: whoever stops then has it told by the sweep."""
        note_id = NoteId(uuid7())
        await _queries.note_untold(self._connection, note_id=note_id, tenant_id=tenant_id, chatbot_id=chatbot_id)
        return note_id

    async def confirm_told(self, tenant_id: TenantId, note_id: NoteId, within: timedelta) -> bool:
        """Say that auth was told what is true from this commit on; False when that took longer than `within`."""
        confirmed = await _queries.confirm_told(self._connection, tenant_id=tenant_id, note_id=note_id, within=within)
        return confirmed is not None

    async def list_untold(self, patience: timedelta, limit: int) -> list[Untold]:
        """Return what auth was to be told for longer than `patience` (system role)."""
        rows = _queries.list_untold(self._connection, patience=patience, row_limit=limit)
        return [
            Untold(NoteId(row["id"]), TenantId(row["tenant_id"]), ChatbotId(row["chatbot_id"])) async for row in rows
        ]

    async def forget_note(self, note: Untold, origins: Sequence[str] | None, patience: timedelta) -> None:
        """Forget a note if these origins, or that the chatbot is gone, is still true, and nobody just changes that."""
        await _queries.forget_note(
            self._connection,
            tenant_id=note.tenant_id,
            note_id=note.id,
            origins=None if origins is None else list(origins),
            patience=patience,
        )

    async def forget_removed(self, older_than: timedelta) -> None:
        """Forget which chatbots are gone after that time, and have no chats any more (system role)."""
        await _queries.forget_removed(self._connection, older_than=older_than)

    async def _edited(self, tenant_id: TenantId, chatbot_id: ChatbotId) -> EditedChatbot:
        found = await self.find_edited(tenant_id, chatbot_id)
        assert found is not None  # it was written by this transaction
        return found


def _columns(chatbot: Chatbot | NewChatbot) -> dict[str, Any]:
    return {
        "name": chatbot.name,
        "name_key": fold(chatbot.name),
        "description": chatbot.description,
        "origins": list(chatbot.origins),
        "demo_messages": chatbot.demo_messages,
        "tokens_per_month": chatbot.tokens_per_month,
        "tokens_per_visitor": chatbot.tokens_per_visitor,
    }


def _json(config: Config) -> str:
    return orjson.dumps(config).decode()


def _config(stored: str) -> Config:
    """Return what any release has stored: a field that it did not have is as in `Config`, one more is left out."""
    values = _known(Config, orjson.loads(stored))
    policy = _known(AnswerPolicy, values.get("answer_policy", {}))
    return Config(
        **values
        | {
            "collections": tuple(CollectionId(UUID(each)) for each in values.get("collections", ())),
            "answer_policy": AnswerPolicy(**policy | {"refused_subjects": tuple(policy.get("refused_subjects", ()))}),
            "suggested_questions": tuple(values.get("suggested_questions", ())),
            "colours": Colours(**_known(Colours, values.get("colours", {}))),
        }
    )


def _known(kind: type[Config | AnswerPolicy | Colours], stored: dict[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in stored.items() if name in names}


def _chatbot(row: asyncpg.Record) -> Chatbot:
    return Chatbot(
        id=ChatbotId(row["id"]),
        tenant_id=TenantId(row["tenant_id"]),
        name=row["name"],
        description=row["description"],
        revision=row["revision"],
        last_version=row["last_version"],
        live_version=row["live_version"],
        origins=tuple(row["origins"]),
        demo_messages=row["demo_messages"],
        tokens_per_month=row["tokens_per_month"],
        tokens_per_visitor=row["tokens_per_visitor"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _version(row: asyncpg.Record, chatbot_id: ChatbotId) -> Version:
    return Version(
        chatbot_id=chatbot_id,
        number=row["version"],
        config=_config(row["config"]),
        created_at=row["version_created_at"],
        restored_from=row["restored_from"],
    )


def _version_beside(row: asyncpg.Record) -> Version | None:
    return _version(row, cast(ChatbotId, row["id"])) if row["version"] is not None else None


def _edited(row: asyncpg.Record) -> EditedChatbot:
    return EditedChatbot(_chatbot(row), _config(row["draft"]), _version_beside(row))
