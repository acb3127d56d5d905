"""The gateway's side of the knowledge base: documents are registered, shown, retried and deleted here."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
from docuchat_common.ids import CollectionId, DocumentId, TenantId

from docuchat_knowledge.domain import (
    Collection,
    DeletionReceipt,
    Document,
    DocumentStatus,
    Holdings,
    NewDocument,
    Registration,
)


class DocumentRegistry:
    """Documents of one tenant, within the caller's unit of work (role: gateway)."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def open_default_collection(self, tenant_id: TenantId) -> Collection:
        """The tenant's default collection, made when there is none; safe when called by many at once."""
        raise NotImplementedError

    async def get_collection(self, tenant_id: TenantId, collection_id: CollectionId) -> Collection:
        """Raises CollectionNotFound."""
        raise NotImplementedError

    async def register(self, new: NewDocument) -> Registration:
        """Store a queued document, unless the collection holds the same content already: then that one is returned.

        Two equal uploads at once give one document. Raises CollectionNotFound.
        """
        raise NotImplementedError

    async def find_by_content(self, tenant_id: TenantId, collection_id: CollectionId, sha256: str) -> Document | None:
        raise NotImplementedError

    async def find(self, tenant_id: TenantId, document_id: DocumentId) -> Document | None:
        raise NotImplementedError

    async def get(self, tenant_id: TenantId, document_id: DocumentId) -> Document:
        """Raises DocumentNotFound, also for another tenant's or a deleted document."""
        raise NotImplementedError

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
        raise NotImplementedError

    async def measure_holdings(self, tenant_id: TenantId) -> Holdings:
        raise NotImplementedError

    async def retry(self, tenant_id: TenantId, document_id: DocumentId) -> Document:
        """Queue a failed document again, with its attempts at 0. Raises DocumentNotFound, DocumentNotFailed."""
        raise NotImplementedError

    async def delete(self, tenant_id: TenantId, document_id: DocumentId) -> DeletionReceipt:
        """Delete a document's chunks and vectors now, in whatever state it is; a worker on it loses its claim.

        A tombstone stays until `purge`, so that a crash between commit and removal of the blob leaves nothing behind.
        Raises DocumentNotFound.
        """
        raise NotImplementedError

    async def purge(self, tenant_id: TenantId, document_id: DocumentId) -> None:
        """Take a tombstone away, after its blob is gone; nothing happens when it is gone already."""
        raise NotImplementedError
