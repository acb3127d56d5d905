"""What a removed user leaves: documents are handed over or deleted, collections and memberships end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from docuchat_common.ids import DocumentId, TenantId
from docuchat_common.removals import RemovedUser, repeat
from docuchat_ingest.jobs.deletions import delete_document
from docuchat_ingest.pipeline.ports import Announcer
from docuchat_ingest.transaction import IngestUnitOfWork
from docuchat_knowledge.documents.errors import DocumentNotFound

logger = structlog.get_logger()

_HANDED_AT_ONCE: Final = 500
_DELETED_AT_ONCE: Final = 20
_USERS_AT_ONCE: Final = 100
_KEPT: Final = {
    "provider_calls": "what was asked of a provider, by ids and without words, for 30 days",
    "exports": "archives of the whole tenant that were made before, until they expire (EXPORT_LIFETIME)",
    "counters of the gateway": "how often the user called, by an id, for a day at most",
    "dead letters": "events that were given up, by ids and without words, until an operator replays or discards them",
    "removed_users": "that who is gone stays so, by ids, for 30 days",
}

ForgetQuotes = Callable[[TenantId, DocumentId], Awaitable[int | None]]
"""Empties a document's quotes in answers: how many, None when chat hears of it later, by the event."""
CountBlobs = Callable[[TenantId, DocumentId], Awaitable[int]]
"""Counts a document's files."""
RemoveBlobs = Callable[[TenantId, DocumentId], Awaitable[None]]
"""Deletes a deleted document's files."""


@dataclass(frozen=True, slots=True)
class Removals:
    """Each step is a transaction that can be repeated, so whoever stops in the midst of it goes on later."""

    uow: IngestUnitOfWork
    announcer: Announcer
    forget_quotes: ForgetQuotes
    count_blobs: CountBlobs
    remove_blobs: RemoveBlobs
    delete_expired_archives: Callable[[], Awaitable[None]]

    async def settle(self, who: RemovedUser) -> None:
        """Remember who is gone, and leave nothing under the user's id; what the heir has as well is deleted."""
        async with self.uow(who.tenant_id) as tx:
            await tx.legacies.removed.remember(who)
        handed = await repeat(partial(self._hand_over, who))
        deleted = await repeat(partial(self._delete, who))
        async with self.uow(who.tenant_id) as tx:
            heir = await tx.legacies.removed.find_heir(who)
            ended = await tx.legacies.leave_collections(who, heir)
            await tx.requests.forget_subjects(who.tenant_id, who.subjects)
            archives = await tx.exports.expire_of(who.tenant_id, who.user_id)
            await tx.legacies.removed.count(who, memberships=ended, archives=archives)
        if who.is_erasure:
            await self._tell(who)
        logger.info(
            "user.documents_settled",
            tenant_id=who.tenant_id,
            user_id=str(who.user_id),
            handed_over=handed,
            deleted=deleted,
            memberships=ended,
        )

    async def sweep(self) -> None:
        """Settle what came after its user was gone, and forget who has been gone for long."""
        async with self.uow.system() as tx:
            await tx.legacies.removed.forget()
            left = await tx.legacies.list_left(_USERS_AT_ONCE)
        for who in left:
            await self.settle(who)

    async def _tell(self, who: RemovedUser) -> None:
        await self.delete_expired_archives()
        async with self.uow(who.tenant_id) as tx:
            if (told := await tx.legacies.removed.finish(who, "ingest", _KEPT)) is not None:
                tx.outbox.add(told)

    async def _hand_over(self, who: RemovedUser) -> int:
        async with self.uow(who.tenant_id) as tx:
            heir = await tx.legacies.removed.find_heir(who)
            if heir is None:
                return 0
            handed = await tx.legacies.hand_documents_over(who, heir, _HANDED_AT_ONCE)
            await tx.legacies.removed.count(who, documents_handed_over=handed)
            return handed

    async def _delete(self, who: RemovedUser) -> int:
        async with self.uow(who.tenant_id) as tx:
            documents = await tx.legacies.list_documents(who, _DELETED_AT_ONCE)
        for document_id in documents:
            objects = await self._find_traces(who, document_id) if who.is_erasure else 0
            try:
                async with self.uow(who.tenant_id) as tx:
                    receipt = await delete_document(tx, who.tenant_id, document_id, by="removal")
                    gone = {"documents": 1, "chunks": receipt.chunks_deleted, "objects": objects}
                    await tx.legacies.removed.count(who, **gone)
            except DocumentNotFound:
                continue  # somebody else was quicker
            await self.announcer.announce_deletion(who.tenant_id, receipt)
            if who.is_erasure:  # at once, so that it is not told before
                await self.remove_blobs(who.tenant_id, document_id)
        return len(documents)

    async def _find_traces(self, who: RemovedUser, document_id: DocumentId) -> int:
        """Count quotes and files before the deletion: who hears of that takes them away uncounted. How many files."""
        if quotes := await self.forget_quotes(who.tenant_id, document_id):
            async with self.uow(who.tenant_id) as tx:
                await tx.legacies.removed.count(who, quotes=quotes)
        return await self.count_blobs(who.tenant_id, document_id)
