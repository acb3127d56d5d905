"""What a removed user leaves: documents are handed over or deleted, collections and memberships end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from docuchat_common.events.catalogue import DocumentDeleted
from docuchat_common.removals import RemovedUser, repeat
from docuchat_ingest.pipeline.ports import Announcer
from docuchat_ingest.transaction import IngestUnitOfWork
from docuchat_knowledge.documents.errors import DocumentNotFound

logger = structlog.get_logger()

_HANDED_AT_ONCE: Final = 500
_DELETED_AT_ONCE: Final = 20
_USERS_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class People:
    """Each step is a transaction that can be repeated, so whoever stops in the midst of it goes on later."""

    uow: IngestUnitOfWork
    announcer: Announcer

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
            await tx.exports.expire_of(who.tenant_id, who.user_id)
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

    async def _hand_over(self, who: RemovedUser) -> int:
        async with self.uow(who.tenant_id) as tx:
            heir = await tx.legacies.removed.find_heir(who)
            return 0 if heir is None else await tx.legacies.hand_documents_over(who, heir, _HANDED_AT_ONCE)

    async def _delete(self, who: RemovedUser) -> int:
        async with self.uow(who.tenant_id) as tx:
            documents = await tx.legacies.list_documents(who, _DELETED_AT_ONCE)
        for document_id in documents:
            try:
                async with self.uow(who.tenant_id) as tx:
                    await tx.documents.delete(who.tenant_id, document_id)
                    tx.outbox.add(DocumentDeleted(tenant_id=who.tenant_id, document_id=document_id, user_id=None))
            except DocumentNotFound:
                continue  # somebody else was quicker
            await self.announcer.announce(who.tenant_id, document_id)
        return len(documents)
