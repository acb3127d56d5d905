"""Rows of attachments in, ids out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from docuchat_common.db.queries import load_queries
from docuchat_common.ids import ChatId, DocumentId, TenantId

_queries: Any = load_queries("docuchat_chat.attachments")


class AttachmentRepository:
    """Which files are used in which chats."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def keep(self, tenant_id: TenantId, chat_id: ChatId, document_ids: Sequence[DocumentId]) -> None:
        """Note that files are used in a chat."""
        await _queries.keep(self._connection, tenant_id=tenant_id, chat_id=chat_id, document_ids=document_ids)

    async def release(self, tenant_id: TenantId, chat_id: ChatId) -> list[DocumentId]:
        """Forget what is used in a chat; returns what is used in no other one."""
        rows = _queries.release(self._connection, tenant_id=tenant_id, chat_id=chat_id)
        return [DocumentId(row["document_id"]) async for row in rows]

    async def list_unused(self, tenant_id: TenantId, document_ids: Sequence[DocumentId]) -> list[DocumentId]:
        """Return those of these files that are used in no chat."""
        rows = _queries.list_unused(self._connection, tenant_id=tenant_id, document_ids=document_ids)
        return [DocumentId(row["id"]) async for row in rows]
