"""What can be done with documents that were taken in."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Final

import structlog

from docuchat_common.acts import part_act
from docuchat_common.audit import entry
from docuchat_common.blobs import BlobContent, Blobs
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import DocumentDeleted
from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.http.permissions import Resource, may
from docuchat_common.ids import ChunkId, CollectionId, DocumentId
from docuchat_common.rate_limits import Limit, Rate, RateLimiter
from docuchat_common.user_events import UserEventWriter
from docuchat_gateway.documents.domain import Deletion, blob_folder, manages
from docuchat_gateway.documents.errors import TooManyRetries
from docuchat_gateway.documents.events import uploaded_event
from docuchat_gateway.documents.ports import DocumentSignals, OpenTransaction, Quotes
from docuchat_gateway.transaction import GatewayTx
from docuchat_knowledge.collections.domain import Collection, Kind
from docuchat_knowledge.documents.domain import Document, DocumentStatus, PageText, Passage, Purpose, holder_of
from docuchat_knowledge.documents.errors import DocumentNotFailed

logger = structlog.get_logger()

MOST_RETRIES: Final = Rate(5, timedelta(days=1))
"""Of one document: each costs its owner tokens and everybody a worker's time."""


class DocumentService:
    """Use cases on documents, for one caller at a time."""

    def __init__(
        self,
        uow: OpenTransaction,
        blobs: Blobs,
        signals: DocumentSignals,
        quotes: Quotes,
        limiter: RateLimiter,
        user_events: UserEventWriter,
    ) -> None:
        self._uow = uow
        self._blobs = blobs
        self._signals = signals
        self._quotes = quotes
        self._limiter = limiter
        self._user_events = user_events

    async def get(self, caller: Caller, document_id: DocumentId) -> Document:
        """Raises DocumentNotFound, also for another tenant's."""
        async with self._uow.as_caller(caller) as tx:
            return await tx.documents.get(caller.tenant_id, document_id)

    async def list_documents(
        self,
        caller: Caller,
        *,
        limit: int,
        before: DocumentId | None,
        status: DocumentStatus | None = None,
        title_contains: str | None = None,
        collection_id: CollectionId | None = None,
        purpose: Purpose | None = None,
    ) -> Sequence[Document]:
        """Newest first."""
        async with self._uow.as_caller(caller) as tx:
            return await tx.documents.list_documents(
                caller.tenant_id,
                limit=limit,
                before=before,
                status=status,
                title_contains=title_contains,
                collection_id=collection_id,
                purpose=purpose,
            )

    async def list_oldest_first(
        self, caller: Caller, *, limit: int, after: DocumentId | None, purpose: Purpose | None
    ) -> Sequence[Document]:
        """Oldest first."""
        async with self._uow.as_caller(caller) as tx:
            return await tx.documents.list_oldest_first(caller.tenant_id, limit=limit, after=after, purpose=purpose)

    async def open_content(
        self, caller: Caller, document_id: DocumentId, start: int | None, end: int | None
    ) -> tuple[Document, BlobContent]:
        """The document and its file's bytes. Raises DocumentNotFound, BlobMissing, RangeUnsatisfiable."""
        document = await self.get(caller, document_id)
        return document, await self._blobs.open(document.blob_key, start, end)

    async def retry(self, caller: Caller, document_id: DocumentId) -> Document:
        """Queue a failed document again.

        Raises DocumentNotFound, NotAllowed as `delete` does (its owner pays), DocumentNotFailed, TooManyRetries.
        """
        tenant = caller.tenant_id
        async with self._uow.as_caller(caller) as tx:
            document = await _own(tx, caller, document_id)
        if document.status is not DocumentStatus.FAILED:
            raise DocumentNotFailed
        limit = Limit("retry", f"{tenant}:{document_id}", MOST_RETRIES)
        await self._limiter.require(limit, error=TooManyRetries, limit=MOST_RETRIES.amount)
        async with self._uow.as_caller(caller) as tx:
            document = await tx.documents.retry(tenant, document_id)
            tx.outbox.add(uploaded_event(document))
            tx.outbox.add(entry(caller, "document.retry", document_id))
        self._user_events.add(holder_of(tenant, document), "document", document_id)
        return document

    async def delete(self, caller: Caller, document_id: DocumentId, *, is_part: bool = False) -> Deletion:
        """Delete at once: when this returns, no search finds the text and the file is gone or about to be swept.

        Raises DocumentNotFound, and NotAllowed for who may not write in its collection, and for who neither uploaded it
        nor manages its collection or the tenant's documents.

        `is_part` of an act that has an audit entry of its own besides.
        """
        tenant = caller.tenant_id
        if is_part:
            part_act("document.delete")
        async with self._uow.as_caller(caller) as tx:
            await _own(tx, caller, document_id)
            receipt = await tx.documents.delete(tenant, document_id)
            tx.outbox.add(DocumentDeleted(tenant_id=tenant, document_id=document_id, user_id=caller.user_id))
            # each is told when it is done: what comes after it may fail
            tx.outbox.add(entry(caller, "document.delete", document_id, detail="with others" if is_part else None))
        self._user_events.add(holder_of(tenant, receipt), "document_deleted", document_id)
        logger.info("document.deleted", document_id=str(document_id), chunks=receipt.chunks_deleted)
        quotes, blobs = await asyncio.gather(
            self._quotes.forget(tenant, document_id), self._delete_blobs(caller, document_id)
        )
        return Deletion(receipt, blobs, quotes)

    async def _delete_blobs(self, caller: Caller, document_id: DocumentId) -> int | None:
        tenant = caller.tenant_id
        try:
            deleted = await self._blobs.delete_prefix(blob_folder(tenant, document_id))
            async with self._uow.as_caller(caller) as tx:
                await tx.documents.purge(tenant, document_id)
        except UpstreamUnavailable:
            # deleted it is; the tombstone stays, and the worker's sweep takes both away
            logger.warning("document.blob_left", document_id=str(document_id))
            return None
        return deleted

    async def get_passage(self, caller: Caller, chunk_id: ChunkId, *, neighbours: int) -> Passage:
        """A chunk that an answer cites, with what stands around it. Raises PassageNotFound."""
        async with self._uow.as_caller(caller) as tx:
            return await tx.passages.get_passage(caller.tenant_id, chunk_id, neighbours=neighbours)

    async def read_page(self, caller: Caller, document_id: DocumentId, page: int) -> PageText:
        """The text of one page, counted from 1. Raises DocumentNotFound, PageNotFound."""
        async with self._uow.as_caller(caller) as tx:
            return await tx.passages.read_page(caller.tenant_id, document_id, page)

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


async def _own(tx: GatewayTx, caller: Caller, document_id: DocumentId) -> Document:
    """The document, for who uploaded it, is a member that manages its collection, or manages the tenant's documents.

    A file for messages is for whoever may attach one, which is also who may upload nothing else.
    """
    document = await tx.documents.get(caller.tenant_id, document_id)
    if may(caller, "documents.add", Resource(caller.tenant_id, document.uploaded_by or document.uploaded_with)):
        return document
    collection = await tx.collections.get(caller.tenant_id, document.collection_id)
    if not (manages(caller, collection) or _attached(caller, collection)):
        raise NotAllowed
    return document


def _attached(caller: Caller, collection: Collection) -> bool:
    own = collection.kind is Kind.ATTACHMENTS and collection.id == (caller.maker_id or caller.subject_id)
    return own and caller.can("chats.use")
