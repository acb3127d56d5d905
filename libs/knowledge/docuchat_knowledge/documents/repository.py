"""The gateway's side of the knowledge base: documents are registered, shown, retried and deleted here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final
from uuid import UUID

import asyncpg

from docuchat_common.db import load_queries
from docuchat_common.http.caller import NotAllowed
from docuchat_common.idempotency import IdempotentRequests
from docuchat_common.ids import CollectionId, DocumentId, TenantId
from docuchat_knowledge.collections.errors import CollectionNotFound
from docuchat_knowledge.collections.repository import CollectionRepository, refused_by_policy
from docuchat_knowledge.documents.domain import (
    DeletionReceipt,
    Document,
    DocumentStatus,
    HeldDocument,
    NewDocument,
    Purpose,
    Registration,
    estimate_seconds_left,
)
from docuchat_knowledge.documents.errors import DocumentNotFailed, DocumentNotFound, UploadAbandoned

_queries = load_queries(__package__)
READ_ONLY: Final = "You may read this collection, not add to it; ask who manages it."
_FIRST_ID, _LAST_ID = UUID(int=0), UUID(int=2**128 - 1)


class DocumentRegistry:
    """Documents of one tenant, within the caller's unit of work (role: gateway)."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def begin_receiving(
        self,
        tenant_id: TenantId,
        document_id: DocumentId,
        *,
        collection_id: CollectionId,
        uploaded_by: UUID | None,
        media_type: str,
        uploaded_with: UUID | None = None,
    ) -> None:
        """Write the row that stands before its file: whatever happens, a blob belongs to a row. Nobody sees it.

        Raises CollectionNotFound, NotAllowed.
        """
        await CollectionRepository(self._connection).get(tenant_id, collection_id)
        with refused_by_policy(READ_ONLY):
            await _queries.insert_receiving(
                self._connection,
                tenant_id=tenant_id,
                document_id=document_id,
                collection_id=collection_id,
                uploaded_by=uploaded_by,
                uploaded_with=uploaded_with,
                media_type=media_type,
            )

    async def register(self, new: NewDocument) -> Registration:
        """Queue a document whose file is stored, unless its uploader has the same content in the collection already.

        Then that document is returned, and the row from `begin_receiving` is left to `abandon`. Two equal uploads at
        once give one document; repeated with the same id it has no effect. Raises CollectionNotFound, NotAllowed where
        it may only be read, also when either came about meanwhile, and UploadAbandoned.
        """
        await CollectionRepository(self._connection).get(new.tenant_id, new.collection_id)
        with refused_by_policy(READ_ONLY):  # it may have been restricted since the upload began
            row = await _queries.register_document(self._connection, **asdict(new))
        if row is not None:
            if row["created"] and new.purpose is not None:
                await _queries.set_purpose(
                    self._connection, tenant_id=new.tenant_id, id=new.id, purpose=new.purpose.value
                )
            document = await self.find(new.tenant_id, row["document_id"])
            if document is None:  # hidden since the statement before
                raise CollectionNotFound
            return Registration(document, created=row["created"])
        document = await self.find(new.tenant_id, new.id)
        if document is None:
            raise UploadAbandoned
        return Registration(document, created=True)

    async def abandon(self, tenant_id: TenantId, document_id: DocumentId) -> None:
        """Give up a document whose file did not arrive; a tombstone stays until `purge`. Safe to repeat."""
        await _queries.abandon_receiving(self._connection, tenant_id=tenant_id, document_id=document_id)

    async def renew_blob(self, tenant_id: TenantId, document_id: DocumentId, blob_key: str) -> Document | None:
        """Give a failed document its content's new blob and queue it again; None when it is not failed (any more)."""
        renewed = await _queries.renew_blob(
            self._connection, tenant_id=tenant_id, document_id=document_id, blob_key=blob_key
        )
        return None if renewed is None else await self.retry(tenant_id, document_id)

    async def find_by_content(
        self, tenant_id: TenantId, collection_id: CollectionId, sha256: str, *, uploaded_by: UUID | None
    ) -> Document | None:
        """The uploader's document with this content, in whatever state; None when there is none."""
        row = await _queries.find_document_by_content(
            self._connection,
            tenant_id=tenant_id,
            collection_id=collection_id,
            sha256=sha256,
            uploaded_by=uploaded_by,
        )
        return None if row is None else await self.find(tenant_id, row["id"])

    async def find(self, tenant_id: TenantId, document_id: DocumentId) -> Document | None:
        """One document; None when there is none, or it is deleted, or another tenant's."""
        found = await self.list_documents(tenant_id, limit=1, document_id=document_id)
        return found[0] if found else None

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
        document_id: DocumentId | None = None,
        status: DocumentStatus | None = None,
        title_contains: str | None = None,
        collection_id: CollectionId | None = None,
        purpose: Purpose | None = None,
    ) -> Sequence[Document]:
        """Newest first (ids are UUIDv7); `before` is the id of the last document of the page before.

        One that is asked for by `document_id` also has its page labels.
        """
        rows = _queries.list_documents(
            self._connection,
            tenant_id=tenant_id,
            page_size=limit,
            before=before,
            newest=document_id or before or _LAST_ID,
            oldest=document_id or _FIRST_ID,
            status=status,
            title_contains=title_contains,
            collection_id=collection_id,
            purpose=purpose,
        )
        return [_document(row) async for row in rows]

    async def list_oldest_first(
        self, tenant_id: TenantId, *, limit: int, after: DocumentId | None, purpose: Purpose | None
    ) -> Sequence[Document]:
        """As `list_documents`, the other way: `after` is the id of the last document of the page before."""
        start = after or _FIRST_ID
        end = await _queries.find_end_of_page(
            self._connection, tenant_id=tenant_id, after=start, purpose=purpose, page_size=limit
        )
        if end is None:
            return []
        rows = _queries.list_documents(
            self._connection,
            tenant_id=tenant_id,
            page_size=2 * limit,  # the newest are read first: what came in meanwhile takes the place of none
            before=after,
            newest=end,
            oldest=start,
            status=None,
            title_contains=None,
            collection_id=None,
            purpose=purpose,
        )
        return [_document(row) async for row in rows][::-1][:limit]

    async def list_holdings(self, *, after: UUID | None, limit: int) -> Sequence[HeldDocument]:
        """A page of what is stored, of all tenants when the transaction is the system's, by id."""
        return [
            HeldDocument(**row) async for row in _queries.list_holdings(self._connection, after=after, page_size=limit)
        ]

    async def retry(self, tenant_id: TenantId, document_id: DocumentId) -> Document:
        """Queue a failed document again, with its attempts at 0.

        Raises DocumentNotFound, DocumentNotFailed, and NotAllowed where it may only be read.
        """
        if await _queries.retry_document(self._connection, tenant_id=tenant_id, document_id=document_id) is None:
            document = await self.get(tenant_id, document_id)
            raise NotAllowed if document.status is DocumentStatus.FAILED else DocumentNotFailed
        return await self.get(tenant_id, document_id)

    async def delete(self, tenant_id: TenantId, document_id: DocumentId) -> DeletionReceipt:
        """Delete a document's chunks and vectors now, in whatever state it is; a worker on it loses its claim.

        What uploads of it were answered goes as well, with its title and file name.
        A tombstone stays until `purge`, so that a crash between commit and removal of the blob leaves nothing behind.
        Raises DocumentNotFound, and NotAllowed where it may only be read.
        """
        # the row is locked first: a worker's write under its claim either came before and is deleted, or fails
        buried = await _queries.bury_document(self._connection, tenant_id=tenant_id, document_id=document_id)
        if buried is None:
            await self.get(tenant_id, document_id)
            raise NotAllowed
        await IdempotentRequests(self._connection, "knowledge").forget_about(tenant_id, document_id)
        deleted = await _queries.delete_chunks(self._connection, tenant_id=tenant_id, document_id=document_id)
        if buried["chunks"]:
            await _queries.grow_collection(
                self._connection,
                tenant_id=tenant_id,
                collection_id=buried["collection_id"],
                chunks=-buried["chunks"],
                terms=-buried["term_total"],
            )
        return DeletionReceipt(
            id=document_id,
            collection_id=buried["collection_id"],
            deleted_at=buried["deleted_at"],
            chunks_deleted=deleted,
            pages_deleted=buried["pages"] or 0,
            bytes_deleted=buried["size_bytes"],
            blob_key=buried["blob_key"],
            uploaded_by=buried["uploaded_by"],
            uploaded_with=buried["uploaded_with"],
        )

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
        waiting_until=row["waiting_until"],
        pages_unread=row["pages_unread"],
        warnings=tuple(row["warnings"]),
        info=json.loads(row["info"]),
        embedding_outdated=bool(row["embedding_outdated"]),
        uploaded_by=row["uploaded_by"],
        uploaded_with=row["uploaded_with"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        ready_at=row["ready_at"],
        purpose=Purpose.ASSISTANTS if row["purpose"] is None else Purpose(row["purpose"]),
    )
