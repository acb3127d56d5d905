"""What is looked after without a claim: exhausted documents, deletions, the queue's length."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from docuchat_common.blobs import Blobs
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import DocumentFailed
from docuchat_common.ids import DocumentId, TenantId
from docuchat_common.metering import Metering
from docuchat_ingest.jobs.deletions import delete_document
from docuchat_ingest.jobs.ports import DeadLetters, Meter
from docuchat_ingest.pipeline.ports import Announcer
from docuchat_ingest.transaction import IngestUnitOfWork
from docuchat_knowledge.documents.errors import DocumentNotFound
from docuchat_knowledge.jobs.domain import Tombstone
from docuchat_models.spaces import EmbeddingSpace

logger = structlog.get_logger()

_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Sweeps:
    uow: IngestUnitOfWork
    blobs: Blobs
    announcer: Announcer
    dead_letters: DeadLetters
    meter: Meter
    metering: Metering
    max_attempts: int

    async def fail_exhausted(self) -> None:
        """Fail the documents that took their worker down too often."""
        async with self.uow.system() as tx:
            exhausted = await tx.claims.fail_exhausted(max_attempts=self.max_attempts)
            for document in exhausted:
                tx.outbox.add(
                    DocumentFailed(
                        tenant_id=document.tenant_id,
                        document_id=document.document_id,
                        error_code="worker_crashed",
                        error_detail="The worker stopped unexpectedly each time it tried this document.",
                        attempts=document.attempts,
                        retryable=True,
                    )
                )
        for document in exhausted:
            self.meter.finished("worker_crashed")
            await self.dead_letters.bury(document)
            await self.announcer.announce(document)

    async def count_blobs(self, tenant_id: TenantId, document_id: DocumentId) -> int:
        """How many objects a document has."""
        return len([blob async for blob in self.blobs.list(_folder(tenant_id, document_id))])

    async def remove_blobs(self, tenant_id: TenantId, document_id: DocumentId) -> None:
        """Delete what is left of a deleted document; does nothing for one that is there."""
        async with self.uow(tenant_id) as tx:
            if await tx.writes.exists(tenant_id, document_id):
                logger.warning("document.not_deleted", document_id=str(document_id))
                return
        objects = await self.blobs.delete_prefix(_folder(tenant_id, document_id))
        async with self.uow.system() as tx:
            await tx.claims.purge(Tombstone(document_id, tenant_id, ""))
        logger.info("document.blobs_deleted", document_id=str(document_id), objects=objects)

    async def bury_abandoned(self, older_than: timedelta) -> None:
        """Turn uploads whose file never came into tombstones, which the other sweep takes away with what is stored."""
        async with self.uow.system() as tx:
            buried = await tx.claims.bury_abandoned(older_than=older_than)
        if buried:
            logger.info("uploads.abandoned", documents=buried)

    async def bury_tombstones(self, older_than: timedelta) -> None:
        """Finish deletions whose event was lost.

        One that fails goes behind the others, which it must not keep from going; its failure is raised at the end.
        """
        failure: UpstreamUnavailable | None = None
        async with self.uow.system() as tx:
            tombstones = await tx.claims.list_tombstones(older_than=older_than)
        for tombstone in tombstones:
            try:
                await self.remove_blobs(tombstone.tenant_id, tombstone.id)
            except UpstreamUnavailable as error:
                failure = error
                async with self.uow.system() as tx:
                    await tx.claims.postpone_purge(tombstone)
        if failure is not None:
            raise failure

    async def delete_older(self, tenant_id: TenantId, before: datetime) -> int:
        """Delete the documents of a tenant that were uploaded before a moment; returns how many. Their files follow."""
        deleted = 0
        while True:
            async with self.uow(tenant_id) as tx:
                old = await tx.writes.list_uploaded_before(tenant_id, before, _BATCH)
            for document_id in old:
                with suppress(DocumentNotFound):  # somebody was quicker
                    async with self.uow(tenant_id) as tx:
                        receipt = await delete_document(tx, tenant_id, document_id, by="retention")
                    await self.announcer.announce_deletion(tenant_id, receipt)
                    deleted += 1
            if len(old) < _BATCH:
                return deleted

    async def try_again(self, document_id: DocumentId) -> None:
        """Queue a document that was given up after all its attempts; any other is left as it is."""
        async with self.uow.system() as tx:
            queued = await tx.claims.requeue_given_up(document_id)
        if queued:
            logger.info("document.tried_again", document_id=str(document_id))

    async def tell_space(self, space: EmbeddingSpace) -> None:
        """Say at the start what embeds, and how many documents another model left behind."""
        async with self.uow.system() as tx:
            outdated = await tx.reembedding.count_outdated()
        logger.info("embedding.space", provider=space.provider, model=space.model, dimension=space.dimension)
        if outdated:
            logger.warning(
                "embedding.outdated",
                documents=outdated,
                hint="They are found by their words alone; `docuchat admin reembed` queues them.",
            )

    async def take_over_calls(self) -> None:
        """Book what dead workers left open at the provider."""

        async def is_alive(owner: str) -> bool:
            async with self.uow.system() as tx:
                return await tx.claims.is_alive(int(owner))

        await self.metering.take_over(is_alive)

    async def measure_queue(self) -> None:
        """Show the queue's length and age to whoever scales the workers."""
        async with self.uow.system() as tx:
            depth = await tx.claims.measure_queue()
        self.meter.queue(depth)


def _folder(tenant_id: TenantId, document_id: DocumentId) -> str:
    return f"tenants/{tenant_id}/documents/{document_id}"
