"""What can be done with documents that were taken in."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta

import structlog

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import DocumentDeleted
from docuchat_common.http.caller import Caller
from docuchat_common.ids import DocumentId
from docuchat_gateway.documents.errors import (
    BlobStoreUnavailable,
)
from docuchat_gateway.documents.events import uploaded_event
from docuchat_gateway.documents.ports import BlobContent, BlobStore, DocumentSignals, OpenTransaction
from docuchat_knowledge.documents.domain import DeletionReceipt, Document, DocumentStatus

logger = structlog.get_logger()


class DocumentService:
    """Use cases on documents, for one caller at a time."""

    def __init__(self, uow: OpenTransaction, blobs: BlobStore, signals: DocumentSignals) -> None:
        self._uow = uow
        self._blobs = blobs
        self._signals = signals

    async def get(self, caller: Caller, document_id: DocumentId) -> Document:
        """Raises DocumentNotFound, also for another tenant's."""
        async with self._uow(caller.tenant_id) as tx:
            return await tx.documents.get(caller.tenant_id, document_id)

    async def list_documents(
        self,
        caller: Caller,
        *,
        limit: int,
        before: DocumentId | None,
        status: DocumentStatus | None,
        title_contains: str | None,
    ) -> Sequence[Document]:
        """Newest first."""
        async with self._uow(caller.tenant_id) as tx:
            return await tx.documents.list_documents(
                caller.tenant_id, limit=limit, before=before, status=status, title_contains=title_contains
            )

    async def open_content(
        self, caller: Caller, document_id: DocumentId, start: int | None, end: int | None
    ) -> tuple[Document, BlobContent]:
        """The document and its file's bytes. Raises DocumentNotFound, BlobMissing, RangeUnsatisfiable."""
        document = await self.get(caller, document_id)
        return document, await self._blobs.open(document.blob_key, start, end)

    async def retry(self, caller: Caller, document_id: DocumentId) -> Document:
        """Queue a failed document again. Raises DocumentNotFound, DocumentNotFailed."""
        async with self._uow(caller.tenant_id) as tx:
            document = await tx.documents.retry(caller.tenant_id, document_id)
            tx.outbox.add(uploaded_event(document))
        return document

    async def delete(self, caller: Caller, document_id: DocumentId) -> DeletionReceipt:
        """Delete at once: when this returns, no search finds the text and the file is gone or about to be swept."""
        tenant = caller.tenant_id
        async with self._uow(tenant) as tx:
            receipt = await tx.documents.delete(tenant, document_id)
            tx.outbox.add(DocumentDeleted(tenant_id=tenant, document_id=document_id, user_id=caller.user_id))
        logger.info("document.deleted", document_id=str(document_id), chunks=receipt.chunks_deleted)
        try:
            await self._blobs.delete(receipt.blob_key)
        except BlobStoreUnavailable:
            # the tombstone keeps the key; the worker, which hears of the event, deletes the blob
            logger.warning("document.blob_left", document_id=str(document_id))
        else:
            with suppress(UpstreamUnavailable):  # deleted it is; the worker takes the tombstone away
                async with self._uow(tenant) as tx:
                    await tx.documents.purge(tenant, document_id)
        return receipt

    async def watch(
        self, caller: Caller, document_id: DocumentId, *, poll: timedelta
    ) -> AsyncIterator[Document | None]:
        """The document now and after each change, until it is ready or failed; None when nothing changed for `poll`.

        Raises DocumentNotFound, also when it is deleted meanwhile.
        """
        async with self._signals.watch(caller.tenant_id, document_id) as wakeup:
            shown: Document | None = None
            while True:
                document = await self.get(caller, document_id)
                if document != shown:
                    shown = document
                    yield document
                    if document.status in {DocumentStatus.READY, DocumentStatus.FAILED}:
                        return
                else:
                    yield None
                await wakeup.wait(poll)
