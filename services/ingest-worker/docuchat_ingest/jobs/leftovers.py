"""What chatbots and chats that are gone leave: their documents, and files that no chat has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import Final
from uuid import UUID

import structlog

from docuchat_common.clock import Clock
from docuchat_common.ids import DocumentId, TenantId
from docuchat_common.removals import repeat
from docuchat_ingest.jobs.deletions import delete_document
from docuchat_ingest.pipeline.ports import Announcer
from docuchat_ingest.transaction import IngestUnitOfWork
from docuchat_knowledge.documents.errors import DocumentNotFound
from docuchat_knowledge.removals.leftovers import BEFORE_ALL, Attachment, OwnCollection

logger = structlog.get_logger()

_AT_ONCE: Final = 20
_PAGE: Final = 200

FindUnused = Callable[[TenantId, Sequence[DocumentId]], Awaitable[Sequence[DocumentId]]]
"""Tells which of these attachments are in no chat. Raises UpstreamUnavailable."""
FindGone = Callable[[TenantId, Sequence[UUID]], Awaitable[Sequence[UUID]]]
"""Tells which of these chatbots are gone. Raises UpstreamUnavailable."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Each step is a transaction that can be repeated, so whoever stops in the midst of it goes on later."""

    uow: IngestUnitOfWork
    announcer: Announcer
    find_unused: FindUnused
    find_gone: FindGone
    clock: Clock

    async def delete_chatbot(self, tenant_id: TenantId, chatbot_id: UUID) -> None:
        """Delete the documents of a chatbot that is gone and their collection; files that still arrive are given up."""
        deleted = 0
        while True:
            deleted += await repeat(partial(self._delete_some, tenant_id, chatbot_id))
            async with self.uow(tenant_id) as tx:
                if await tx.leftovers.delete_collection(tenant_id, chatbot_id):
                    break
        logger.info("chatbot.documents_deleted", chatbot_id=str(chatbot_id), documents=deleted)

    async def delete_attachments(self, tenant_id: TenantId, document_ids: Sequence[UUID]) -> None:
        """Delete files of a chat that is gone; whatever else is named stays, and what another chat uses by now.

        Raises UpstreamUnavailable.
        """
        async with self.uow(tenant_id) as tx:
            attachments = await tx.leftovers.list_attachments(tenant_id, document_ids)
        if attachments:
            await self._delete(tenant_id, await self.find_unused(tenant_id, attachments))

    async def sweep_chatbots(self) -> None:
        """Delete what chatbots left whose deletion nobody heard of, or to which a file came after it."""
        after = UUID(int=0)
        while True:
            async with self.uow.system() as tx:
                page = await tx.leftovers.list_chatbots(after, _PAGE)
            for tenant_id, chatbots in groupby(sorted(page, key=_tenant_of), _tenant_of):
                for chatbot_id in await self.find_gone(tenant_id, [chatbot.id for chatbot in chatbots]):
                    await self.delete_chatbot(tenant_id, chatbot_id)
            if len(page) < _PAGE:
                return
            after = page[-1].id

    async def sweep(self, older_than: timedelta) -> None:
        """Delete the files that nobody has asked with for so long since they came, and those whose chats are gone."""
        before, after = self.clock.now() - older_than, BEFORE_ALL
        while True:
            async with self.uow.system() as tx:
                page = await tx.leftovers.list_attachments_before(before, after, _PAGE)
            for tenant_id, attachments in groupby(sorted(page, key=_tenant_of), _tenant_of):
                unused = await self.find_unused(tenant_id, [attachment.id for attachment in attachments])
                await self._delete(tenant_id, unused)
            if len(page) < _PAGE:
                return
            after = page[-1]

    async def _delete_some(self, tenant_id: TenantId, chatbot_id: UUID) -> int:
        async with self.uow(tenant_id) as tx:
            documents = await tx.leftovers.list_documents_of_chatbot(tenant_id, chatbot_id, _AT_ONCE)
        await self._delete(tenant_id, documents)
        return len(documents)

    async def _delete(self, tenant_id: TenantId, document_ids: Sequence[DocumentId]) -> None:
        for document_id in document_ids:
            with suppress(DocumentNotFound):  # somebody was quicker
                async with self.uow(tenant_id) as tx:
                    receipt = await delete_document(tx, tenant_id, document_id, by="removal")
                await self.announcer.announce_deletion(tenant_id, receipt)


def _tenant_of(leftover: Attachment | OwnCollection) -> TenantId:
    return leftover.tenant_id
