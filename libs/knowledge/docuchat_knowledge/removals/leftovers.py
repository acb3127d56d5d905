"""What chatbots and chats that are gone leave in schema knowledge: rows in, ids out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from docuchat_common.db import load_queries
from docuchat_common.ids import DocumentId, TenantId

_queries = load_queries(__package__, "leftovers.sql")


class Attachment(NamedTuple):
    """A file that somebody attached to a message, or was about to; ordered by owner and id."""

    owner_id: UUID
    id: DocumentId
    tenant_id: TenantId


class OwnCollection(NamedTuple):
    """The collection of a chatbot's own documents, which has the chatbot's id."""

    id: UUID
    tenant_id: TenantId


BEFORE_ALL = Attachment(UUID(int=0), DocumentId(UUID(int=0)), TenantId(0))


class LeftoverRepository:
    """Documents of chatbots and chats (role: ingest; what is of all tenants: ingest_system)."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def list_documents_of_chatbot(
        self, tenant_id: TenantId, chatbot_id: UUID, limit: int
    ) -> Sequence[DocumentId]:
        """Some documents of a chatbot's own collection."""
        rows = _queries.list_documents_of_chatbot(
            self._connection, tenant_id=tenant_id, chatbot_id=chatbot_id, row_limit=limit
        )
        return [DocumentId(row["id"]) async for row in rows]

    async def delete_collection(self, tenant_id: TenantId, chatbot_id: UUID) -> bool:
        """Delete a chatbot's own collection and give up what is on its way to it; False while it has documents."""
        place = {"tenant_id": tenant_id, "chatbot_id": chatbot_id}
        if await _queries.lock_collection(self._connection, **place) is None:
            return True
        await _queries.give_uploads_up(self._connection, **place)
        return await _queries.delete_collection(self._connection, **place) is not None

    async def list_attachments(self, tenant_id: TenantId, document_ids: Sequence[UUID]) -> Sequence[DocumentId]:
        """Those of these documents that are attachments."""
        rows = _queries.list_attachments(self._connection, tenant_id=tenant_id, document_ids=document_ids)
        return [DocumentId(row["id"]) async for row in rows]

    async def list_attachments_before(self, before: datetime, after: Attachment, limit: int) -> Sequence[Attachment]:
        """A page of the attachments of all tenants that were uploaded before a moment, by owner and id."""
        rows = _queries.list_attachments_before(
            self._connection, before=before, after_owner=after.owner_id, after_id=after.id, row_limit=limit
        )
        return [Attachment(row["owner_id"], DocumentId(row["id"]), TenantId(row["tenant_id"])) async for row in rows]

    async def list_chatbots(self, after: UUID, limit: int) -> Sequence[OwnCollection]:
        """A page of the chatbots of all tenants that have a collection of their own, by id."""
        rows = _queries.list_chatbots(self._connection, after=after, row_limit=limit)
        return [OwnCollection(row["id"], TenantId(row["tenant_id"])) async for row in rows]
