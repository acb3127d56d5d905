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

import numpy as np
import numpy.typing as npt

from docuchat_common.blobs import Blobs
from docuchat_common.errors import DocuChatError, UpstreamUnavailable
from docuchat_common.events.catalogue import DocumentProcessing, DocumentReady
from docuchat_common.metering import ProviderCall, TokenBounds, bounded, call_id_of, used_of
from docuchat_ingest.chunking.chunker import Chunker
from docuchat_ingest.pipeline.domain import Job, Limits
from docuchat_ingest.pipeline.errors import EmbeddingUnavailable
from docuchat_ingest.pipeline.judgement import judge
from docuchat_ingest.pipeline.ports import Announcer, DocumentReader, Quota
from docuchat_ingest.reading.formats import PageText
from docuchat_ingest.transaction import PatientCommits, Transaction
from docuchat_knowledge.jobs.domain import ChunkDraft, Completion
from docuchat_knowledge.jobs.errors import ClaimLost
from docuchat_models.embeddings import Embedder
from docuchat_models.errors import ProviderRefused, billed
from docuchat_models.openai_embeddings import MOST_TOKENS

WORK_FOLDER = "docuchat-ingest-"
"""Begins the name of a folder that holds a file while it is read; the process id follows."""
_PROGRESS_EVERY = 0.2  # seconds


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Safe for concurrent use: each call has its own document."""

    commit: PatientCommits
    blobs: Blobs
    reader: DocumentReader
    chunker: Callable[[], Chunker]
    embedder: Callable[[], Awaitable[Embedder]]
    quota: Quota
    announcer: Announcer
    limits: Limits
    owner: str
    """Of the provider calls: whoever sees that it is dead books what it left open."""

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
        await self.announcer.announce(claim)

    async def _read(self, job: Job) -> list[str]:
        claim = job.claim
        pages: list[PageText] = []
        with tempfile.TemporaryDirectory(prefix=f"{WORK_FOLDER}{os.getpid()}-") as folder:
            path = Path(folder) / "document"
            with job.stage("fetch"):
                await self.blobs.fetch(claim.blob_key, path, max_bytes=self.limits.max_bytes, sha256=claim.sha256)
            told = time.monotonic()
            with job.stage("extract"):
                async with contextlib.aclosing(self.reader.read(path, claim.media_type)) as windows:
                    async for window in windows:
                        pages.extend(window.pages)
                        job.facts = window.facts
                        if time.monotonic() - told >= _PROGRESS_EVERY:
                            await self._tell_progress(job, window.page_count, len(pages))
                            told = time.monotonic()
        job.pages = len(pages)
        job.pages_unread = judge(pages)
        return [page.text for page in pages]

    async def _tell_progress(self, job: Job, pages: int, pages_done: int) -> None:
        claim = job.claim

        async def record(tx: Transaction) -> None:
            await tx.writes.record_progress(claim, pages=pages, pages_done=pages_done)

        await self.commit(claim.tenant_id, record)
        await self.announcer.announce(claim)

    async def _cut(self, job: Job, pages: Sequence[str]) -> list[ChunkDraft]:
        """The chunks that are not stored yet."""
        with job.stage("chunk"):
            chunks = await asyncio.to_thread(self.chunker().split, pages, job.facts.headings)
        return [chunk for chunk in chunks if chunk.ordinal > job.claim.resume_after]

    async def _embed_and_store(self, job: Job, chunks: Sequence[ChunkDraft]) -> Completion:
        """Embed a batch while the one before it is being stored; the last one is stored together with the swap."""
        embedder = await self.embedder()
        batches = cut_batches(chunks, self.limits.embedding_batch, MOST_TOKENS)
        tokens_left = self._tokens_of(embedder, chunks)
        if batches:
            job.hold_id = await self.quota.hold(
                job.claim,
                embedder.space,
                tokens=tokens_left,
                pages=job.pages if job.claim.generation == 1 else 0,  # a later one replaces pages that count already
                lease=self.limits.lease * 2,
            )
            await job.spending.go_on(self._call(job, embedder, batches, 0))
        vectors: npt.NDArray[np.float32] | None = None
        storing: asyncio.Task[None] | None = None
        try:
            for number, batch in enumerate(batches, start=1):
                with job.stage("embed"):
                    vectors = await self._embed(job, embedder, batch)
                is_last = number == len(batches)
                await job.spending.go_on(None if is_last else self._call(job, embedder, batches, number))
                if storing:
                    await storing
                    storing = None
                if job.lost:
                    raise ClaimLost
                if not is_last:
                    tokens_left -= self._tokens_of(embedder, batch)
                    storing = asyncio.create_task(self._store(job, embedder, batch, vectors, tokens_left))
        finally:
            if storing:
                await asyncio.gather(storing, return_exceptions=True)
        with job.stage("store"):
            return await self._finish(job, embedder, batches[-1] if batches else [], vectors)

    def _call(self, job: Job, embedder: Embedder, batches: Sequence[Sequence[ChunkDraft]], number: int) -> ProviderCall:
        claim, batch = job.claim, batches[number]
        return ProviderCall(
            # the token is the claim's alone, so that no other try of the batch has this id
            id=call_id_of(claim.document_id, claim.generation, claim.token, batch[0].ordinal),
            tenant_id=claim.tenant_id,
            kind="embedding",
            provider=embedder.space.provider,
            model=embedder.space.model,
            expected_input_tokens=self._tokens_of(embedder, batch),
            owner=self.owner,
            subjects=() if claim.uploaded_by is None else (("user", claim.uploaded_by),),
            # an event that names the hold ends it, and the rest of the document still needs it
            hold_id=job.hold_id if number == len(batches) - 1 else None,
            document_id=claim.document_id,
        )

    async def _embed(self, job: Job, embedder: Embedder, batch: Sequence[ChunkDraft]) -> npt.NDArray[np.float32]:
        job.spending.sent()
        try:
            embedded = await embedder.embed([embedder.space.as_passage(chunk.text) for chunk in batch])
        except DocuChatError as error:
            job.spending.answered(billed(error, self._tokens_of(embedder, batch)))
            if isinstance(error, UpstreamUnavailable) and not isinstance(error, ProviderRefused):
                raise EmbeddingUnavailable(error.detail, retry_after=error.retry_after) from error
            raise
        counted = embedded.counted or self._tokens_of(embedder, batch)
        reported = None if embedded.estimated else embedded.tokens
        job.spending.answered(used_of(bounded(reported, counted, TokenBounds(), "input_tokens")))
        return embedded.vectors

    def _tokens_of(self, embedder: Embedder, chunks: Sequence[ChunkDraft]) -> int:
        """Return what it costs to embed these, with what the model is sent before each."""
        prefix = embedder.space.prefixes.passage
        before_each = self.chunker().count(prefix) if prefix else 0
        return sum(chunk.token_count for chunk in chunks) + before_each * len(chunks)

    async def _store(
        self,
        job: Job,
        embedder: Embedder,
        batch: Sequence[ChunkDraft],
        vectors: npt.NDArray[np.float32],
        tokens_left: int,
    ) -> None:
        async def store(tx: Transaction) -> None:
            await tx.writes.write_chunks(job.claim, embedder.space, batch, vectors)

        with job.stage("store"):
            await self.commit(job.claim.tenant_id, store)
        if job.hold_id:
            await self.quota.renew(job.hold_id, self.limits.lease * 2, tokens_left)

    async def _finish(
        self, job: Job, embedder: Embedder, last: Sequence[ChunkDraft], vectors: npt.NDArray[np.float32] | None
    ) -> Completion:
        claim = job.claim

        async def finish(tx: Transaction) -> Completion:
            if vectors is not None:
                await tx.writes.write_chunks(claim, embedder.space, last, vectors)
            completion = await tx.writes.swap(
                claim, pages=job.pages, pages_unread=job.pages_unread, warnings=job.warnings, info=job.info
            )
            tx.outbox.add(
                DocumentReady(
                    tenant_id=claim.tenant_id,
                    document_id=claim.document_id,
                    pages=completion.pages,
                    chunks=completion.chunks,
                    tokens=completion.tokens,
                    generation=completion.generation,
                    pages_unread=job.pages_unread,
                    warnings=job.warnings,
                )
            )
            return completion

        return await self.commit(claim.tenant_id, finish)


def cut_batches(chunks: Sequence[ChunkDraft], most: int, most_tokens: int) -> list[Sequence[ChunkDraft]]:
    """Batches of so many chunks and tokens at most: each is one request, so that its answer settles all of it."""
    batches: list[list[ChunkDraft]] = []
    tokens = 0
    for chunk in chunks:
        if not batches or len(batches[-1]) >= most or tokens + chunk.token_count > most_tokens:
            batches.append([])
            tokens = 0
        batches[-1].append(chunk)
        tokens += chunk.token_count
    return list(batches)
