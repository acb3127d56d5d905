"""A document's way from its file to searchable chunks: fetch, read, chunk, embed, store.

The documents row is the truth; every write names the claim and raises ClaimLost when the document was deleted or taken
over meanwhile.
"""

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import DocumentProcessing, DocumentReady, UsageRecorded
from docuchat_common.ids import HoldId
from docuchat_ingest.chunking.chunker import Chunker
from docuchat_ingest.pipeline.domain import Job, Limits
from docuchat_ingest.pipeline.errors import EmbeddingUnavailable
from docuchat_ingest.pipeline.ports import Announcer, BlobStore, DocumentReader, Quota
from docuchat_ingest.reading.errors import Unreadable
from docuchat_ingest.transaction import PatientCommits, Transaction
from docuchat_knowledge.jobs.domain import ChunkDraft, Completion
from docuchat_models.embeddings import Embedder, EmbeddingBatch

WORK_FOLDER = "docuchat-ingest-"
"""Begins the name of a folder that holds a file while it is read; the process id follows."""
_PROGRESS_EVERY = 0.2  # seconds


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Safe for concurrent use: each call has its own document."""

    commit: PatientCommits
    blobs: BlobStore
    reader: DocumentReader
    chunker: Callable[[], Chunker]
    embedder: Callable[[], Awaitable[Embedder]]
    quota: Quota
    announcer: Announcer
    limits: Limits

    async def run(self, job: Job) -> Completion:
        """Bring the document to ready. Raises whatever hinders it."""
        await self._begin(job)
        pages = await self._read(job)
        chunks = await self._cut(job, pages)
        return await self._embed_and_store(job, chunks)

    async def _begin(self, job: Job) -> None:
        claim = job.claim

        async def begin(tx: Transaction) -> None:
            await tx.writes.renew(claim, lease=self.limits.lease)
            tx.outbox.add(
                DocumentProcessing(tenant_id=claim.tenant_id, document_id=claim.document_id, attempt=claim.attempt)
            )

        await self.commit(claim.tenant_id, begin)
        await self.announcer.announce(claim.tenant_id, claim.document_id)

    async def _read(self, job: Job) -> list[str]:
        claim = job.claim
        pages: list[str] = []
        with tempfile.TemporaryDirectory(prefix=f"{WORK_FOLDER}{os.getpid()}-") as folder:
            path = Path(folder) / "document"
            with job.stage("fetch"):
                if not await self.blobs.fetch(claim.blob_key, path, max_bytes=self.limits.max_bytes):
                    raise Unreadable("too_large")
            told = time.monotonic()
            with job.stage("extract"):
                async with contextlib.aclosing(self.reader.read(path, claim.media_type)) as windows:
                    async for window in windows:
                        pages.extend(window.texts)
                        if time.monotonic() - told >= _PROGRESS_EVERY:
                            await self._tell_progress(job, window.page_count, len(pages))
                            told = time.monotonic()
        job.pages = len(pages)
        if not any(map(_has_words, pages)):
            raise Unreadable("no_text_layer")
        return pages

    async def _tell_progress(self, job: Job, pages: int, pages_done: int) -> None:
        claim = job.claim

        async def record(tx: Transaction) -> None:
            await tx.writes.record_progress(claim, pages=pages, pages_done=pages_done)

        await self.commit(claim.tenant_id, record)
        await self.announcer.announce(claim.tenant_id, claim.document_id)

    async def _cut(self, job: Job, pages: Sequence[str]) -> list[ChunkDraft]:
        """The chunks that are not stored yet."""
        with job.stage("chunk"):
            chunks = await asyncio.to_thread(self.chunker().split, pages)
        return [chunk for chunk in chunks if chunk.ordinal > job.claim.resume_after]

    async def _embed_and_store(self, job: Job, chunks: Sequence[ChunkDraft]) -> Completion:
        """Embed a batch while the one before it is being stored; the last one is stored together with the swap."""
        embedder = await self.embedder()
        size = self.limits.embedding_batch
        batches = [chunks[start : start + size] for start in range(0, len(chunks), size)]
        tokens_left = sum(chunk.token_count for chunk in chunks)
        if tokens_left:
            job.hold_id = await self.quota.hold(job.claim, embedder.space.model, tokens_left, self.limits.lease * 2)
        last: tuple[Sequence[ChunkDraft], EmbeddingBatch] | None = None
        storing: asyncio.Task[None] | None = None
        try:
            for number, batch in enumerate(batches, start=1):
                with job.stage("embed"):
                    embedded = await self._embed(embedder, batch)
                if storing:
                    await storing
                    storing = None
                job.unbooked_tokens += embedded.tokens
                job.estimated = job.estimated or embedded.estimated
                if number == len(batches):
                    last = batch, embedded
                else:
                    tokens_left -= sum(chunk.token_count for chunk in batch)
                    storing = asyncio.create_task(self._store(job, embedder, batch, embedded, tokens_left))
        finally:
            if storing:
                await asyncio.gather(storing, return_exceptions=True)
        with job.stage("store"):
            return await self._finish(job, embedder, last)

    async def _embed(self, embedder: Embedder, batch: Sequence[ChunkDraft]) -> EmbeddingBatch:
        try:
            return await embedder.embed([chunk.text for chunk in batch])
        except UpstreamUnavailable as error:
            raise EmbeddingUnavailable(error.detail, retry_after=error.retry_after) from error

    async def _store(
        self, job: Job, embedder: Embedder, batch: Sequence[ChunkDraft], embedded: EmbeddingBatch, tokens_left: int
    ) -> None:
        async def store(tx: Transaction) -> None:
            await tx.writes.write_chunks(job.claim, embedder.space, batch, embedded.vectors)
            # without the hold: an event that names it ends it, and the rest of the document still needs it
            tx.outbox.add(self._usage(job, embedder, embedded.tokens, embedded.estimated, hold_id=None))

        with job.stage("store"):
            await self.commit(job.claim.tenant_id, store)
        job.unbooked_tokens -= embedded.tokens
        if job.hold_id:
            await self.quota.renew(job.hold_id, self.limits.lease * 2, tokens_left)

    async def _finish(
        self, job: Job, embedder: Embedder, last: tuple[Sequence[ChunkDraft], EmbeddingBatch] | None
    ) -> Completion:
        claim = job.claim

        async def finish(tx: Transaction) -> Completion:
            if last:
                batch, embedded = last
                await tx.writes.write_chunks(claim, embedder.space, batch, embedded.vectors)
                tx.outbox.add(self._usage(job, embedder, job.unbooked_tokens, job.estimated, hold_id=job.hold_id))
            completion = await tx.writes.swap(claim, pages=job.pages)
            tx.outbox.add(
                DocumentReady(
                    tenant_id=claim.tenant_id,
                    document_id=claim.document_id,
                    pages=completion.pages,
                    chunks=completion.chunks,
                    tokens=completion.tokens,
                    generation=completion.generation,
                )
            )
            return completion

        return await self.commit(claim.tenant_id, finish)

    async def book_rest(self, tx: Transaction, job: Job) -> None:
        """Book tokens that were paid for and led to nothing; the event also ends the hold."""
        if job.unbooked_tokens:
            embedder = await self.embedder()
            tx.outbox.add(self._usage(job, embedder, job.unbooked_tokens, job.estimated, hold_id=job.hold_id))

    def _usage(
        self, job: Job, embedder: Embedder, tokens: int, estimated: bool, hold_id: HoldId | None
    ) -> UsageRecorded:
        return UsageRecorded(
            tenant_id=job.claim.tenant_id,
            kind="embedding",
            provider=embedder.space.provider,
            model=embedder.space.model,
            input_tokens=tokens,
            output_tokens=0,
            estimated=estimated,
            user_id=job.claim.uploaded_by,
            document_id=job.claim.document_id,
            hold_id=hold_id,
        )


def _has_words(page: str) -> bool:
    return any(map(str.isalnum, page))
