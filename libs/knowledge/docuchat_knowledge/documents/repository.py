"""The gateway's side of the knowledge base: documents are registered, shown, retried and deleted here."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from docuchat_common.db import load_queries
from docuchat_common.ids import CollectionId, DocumentId, TenantId
from docuchat_knowledge.collections.repository import CollectionRepository
from docuchat_knowledge.documents.domain import (
    DeletionReceipt,
    Document,
    DocumentStatus,
    Holdings,
    NewDocument,
    Registration,
    estimate_seconds_left,
)
from docuchat_knowledge.documents.errors import DocumentNotFailed, DocumentNotFound

_queries = load_queries(__package__)


class DocumentRegistry:
    """Documents of one tenant, within the caller's unit of work (role: gateway)."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def register(self, new: NewDocument) -> Registration:
        """Store a queued document, unless the collection holds the same content already: then that one is returned.

        Two equal uploads at once give one document. Raises CollectionNotFound.
        """
        await CollectionRepository(self._connection).get(new.tenant_id, new.collection_id)
        inserted = await _queries.insert_document(
            self._connection,
            id=new.id,
            tenant_id=new.tenant_id,
            collection_id=new.collection_id,
            title=new.title,
            filename=new.filename,
            media_type=new.media_type,
            size_bytes=new.size_bytes,
            sha256=new.sha256,
            blob_key=new.blob_key,
            uploaded_by=new.uploaded_by,
        )
        if inserted is not None:
            return Registration(await self.get(new.tenant_id, new.id), created=True)
        existing = await self.find_by_content(new.tenant_id, new.collection_id, new.sha256)
        if existing is None:  # deleted between the two statements: the next try stores it
            return await self.register(new)
        return Registration(existing, created=False)

    async def find_by_content(self, tenant_id: TenantId, collection_id: CollectionId, sha256: str) -> Document | None:
        """The document with this content, in whatever state; None when there is none."""
        row = await _queries.find_document_by_content(
            self._connection, tenant_id=tenant_id, collection_id=collection_id, sha256=sha256
        )
        return None if row is None else await self.find(tenant_id, row["id"])

    async def find(self, tenant_id: TenantId, document_id: DocumentId) -> Document | None:
        """One document; None when there is none, or it is deleted, or another tenant's."""
        row = await _queries.find_document(self._connection, tenant_id=tenant_id, document_id=document_id)
        return None if row is None else _document(row)

    async def get(self, tenant_id: TenantId, document_id: DocumentId) -> Document:
        """Raises DocumentNotFound, also for another tenant's or a deleted document."""
        document = await self.find(tenant_id, document_id)
        if document is None:
            raise DocumentNotFound
        return document

    async def list_documents(
        self,
        tenant_id: TenantId,
        *,
        limit: int,
        before: DocumentId | None = None,
        status: DocumentStatus | None = None,
        title_contains: str | None = None,
        collection_id: CollectionId | None = None,
    ) -> Sequence[Document]:
        """Newest first (ids are UUIDv7); `before` is the id of the last document of the page before."""
        rows = [
            row
            async for row in _queries.list_documents(
                self._connection,
                tenant_id=tenant_id,
                page_size=limit,
                before=before,
                status=status,
                title_contains=title_contains,
                collection_id=collection_id,
            )
        ]
        return [_document(row) for row in rows]

    async def measure_holdings(self, tenant_id: TenantId) -> Holdings:
        """Documents, pages and bytes that the tenant has stored now."""
        row = await _queries.measure_holdings(self._connection, tenant_id=tenant_id)
        return Holdings(row["documents"], int(row["pages"]), int(row["size_bytes"]))

    async def retry(self, tenant_id: TenantId, document_id: DocumentId) -> Document:
        """Queue a failed document again, with its attempts at 0. Raises DocumentNotFound, DocumentNotFailed."""
        if await _queries.retry_document(self._connection, tenant_id=tenant_id, document_id=document_id) is None:
            await self.get(tenant_id, document_id)
            raise DocumentNotFailed
        return await self.get(tenant_id, document_id)

    async def delete(self, tenant_id: TenantId, document_id: DocumentId) -> DeletionReceipt:
        """Delete a document's chunks and vectors now, in whatever state it is; a worker on it loses its claim.

        A tombstone stays until `purge`, so that a crash between commit and removal of the blob leaves nothing behind.
        Raises DocumentNotFound.
        """
        # the row is locked first: a worker's write under its claim either came before and is deleted, or fails
        buried = await _queries.bury_document(self._connection, tenant_id=tenant_id, document_id=document_id)
        if buried is None:
            raise DocumentNotFound
        deleted = await _queries.delete_chunks(self._connection, tenant_id=tenant_id, document_id=document_id)
        if buried["chunks"]:
            await _queries.grow_collection(
                self._connection,
                tenant_id=tenant_id,
                collection_id=buried["collection_id"],
                chunks=-buried["chunks"],
                terms=-buried["term_total"],
            )
        return DeletionReceipt(document_id, buried["deleted_at"], deleted, buried["blob_key"])

    async def purge(self, tenant_id: TenantId, document_id: DocumentId) -> None:
        """Take a tombstone away, after its blob is gone; nothing happens when it is gone already."""
        await _queries.purge_document(self._connection, tenant_id=tenant_id, document_id=document_id)


def _document(row: asyncpg.Record) -> Document:
    status = DocumentStatus(row["status"])
    return Document(
        id=row["id"],
        tenant_id=row["tenant_id"],
        collection_id=row["collection_id"],
        title=row["title"],
        filename=row["filename"],
        media_type=row["media_type"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        blob_key=row["blob_key"],
        status=status,
        pages=row["pages"],
        pages_done=row["pages_done"],
        chunks=row["chunks"],
        generation=row["generation"],
        attempts=row["attempts"],
        queue_position=row["queue_position"],
        eta_seconds=estimate_seconds_left(
            status,
            seconds_each=row["seconds_each"],
            running=row["running"] or 0,
            queue_position=row["queue_position"],
            running_seconds=row["running_seconds"],
            pages=row["pages"],
            pages_done=row["pages_done"],
        ),
        error_code=row["error_code"],
        error_detail=row["error_detail"],
        retryable=row["retryable"],
        uploaded_by=row["uploaded_by"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        ready_at=row["ready_at"],
    )
