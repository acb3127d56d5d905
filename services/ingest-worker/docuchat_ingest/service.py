"""The use cases: take the fairest document and turn it into searchable chunks, whatever happens meanwhile.

The documents row is the truth, a message only a reason to look. A failure is one of three: the document's own (it
fails with a reason), somebody else's (it goes back to the queue, with what was done kept), or a lost claim (deleted,
or taken over: the work is dropped without a word).
"""

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import structlog

from docuchat_common.errors import QuotaExceeded, RateLimited, UpstreamUnavailable
from docuchat_common.events.catalogue import DocumentFailed, DocumentProcessing, DocumentReady, UsageRecorded
from docuchat_common.ids import DocumentId, HoldId, TenantId
from docuchat_ingest.chunking import Chunker
from docuchat_ingest.domain import FailureCode, Limits, delay_after, explain, is_retryable
from docuchat_ingest.errors import BlobMissing, EmbeddingUnavailable
from docuchat_ingest.extraction.parser_process import ParserStarved
from docuchat_ingest.extraction.reasons import Unreadable
from docuchat_ingest.ports import (
    Announcer,
    BlobStore,
    DeadLetters,
    DocumentReader,
    IngestUnitOfWork,
    Meter,
    Quota,
    Transaction,
)
from docuchat_knowledge.jobs.domain import ChunkDraft, Claim, Completion, Tombstone, WaitingDocument
from docuchat_knowledge.jobs.errors import ClaimLost
from docuchat_models.embeddings import Embedder, EmbeddingBatch
from docuchat_models.errors import EmbeddingRefused

logger = structlog.get_logger()

T = TypeVar("T")

WORK_FOLDER = "docuchat-ingest-"
"""Begins the name of a folder that holds a file while it is read; the process id follows."""
_PROGRESS_EVERY = 0.2  # seconds
_PATIENCE = timedelta(seconds=25)
"""How long a step waits for the database to come back before the document is left to its lease."""


class GaveUp(Exception):
    """The document fails, for this reason."""

    def __init__(self, code: FailureCode) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class _Job:
    """One document in work."""

    claim: Claim
    hold_id: HoldId | None = None
    unbooked_tokens: int = 0
    """Tokens that the provider counted and no committed event tells of."""
    estimated: bool = False
    pages: int = 0
    stages: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.monotonic() - started


@dataclass(frozen=True, slots=True)
class IngestService:
    """Works on documents; safe for concurrent use, each call has its own document."""

    uow: IngestUnitOfWork
    worker_id: int
    blobs: BlobStore
    reader: DocumentReader
    chunker: Callable[[], Chunker]
    embedder: Callable[[], Awaitable[Embedder]]
    quota: Quota
    announcer: Announcer
    dead_letters: DeadLetters
    meter: Meter
    limits: Limits
    recipe: str
    patience: timedelta = _PATIENCE

    async def claim(self) -> Claim | None:
        """Take the fairest document; None when there is none to take."""
        async with self.uow.system() as tx:
            return await tx.claims.claim(
                self.worker_id, lease=self.limits.lease, max_attempts=self.limits.max_attempts, recipe=self.recipe
            )

    async def work(self, claim: Claim) -> None:
        """Bring the document to an end.

        Raises UpstreamUnavailable when it went back to the queue, so that the caller tries again later.
        """
        with structlog.contextvars.bound_contextvars(
            tenant_id=claim.tenant_id, document_id=str(claim.document_id), attempt=claim.attempt
        ):
            await self._bring_to_an_end(_Job(claim))

    async def _bring_to_an_end(self, job: _Job) -> None:
        claim = job.claim
        ingest = asyncio.ensure_future(self._ingest(job))
        beat = asyncio.create_task(self._keep_alive(job, ingest))
        try:
            completion = await ingest
        except ClaimLost:
            logger.info("document.claim_lost")
            await self._drop_hold(job)
            self.meter.finished("lost")
        except asyncio.CancelledError:
            if beat.done() and not beat.cancelled() and isinstance(beat.exception(), ClaimLost):
                logger.info("document.claim_lost")
                await self._drop_hold(job)
                self.meter.finished("lost")
                return
            ingest.cancel()
            await asyncio.gather(ingest, return_exceptions=True)
            await self._release(job)
            raise
        except Exception as error:  # noqa: BLE001 - every failure has to become a state of the document
            await self._settle(job, error)
        else:
            logger.info(
                "document.ready",
                pages=completion.pages,
                chunks=completion.chunks,
                tokens=completion.tokens,
                seconds={stage: round(seconds, 3) for stage, seconds in job.stages.items()},
            )
            for stage, seconds in job.stages.items():
                self.meter.stage(stage, seconds)
            self.meter.finished("ready")
            await self.announcer.announce(claim.tenant_id, claim.document_id)
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)

    async def _ingest(self, job: _Job) -> Completion:
        claim = job.claim

        async def begin(tx: Transaction) -> None:
            await tx.writes.renew(claim, lease=self.limits.lease)
            tx.outbox.add(
                DocumentProcessing(tenant_id=claim.tenant_id, document_id=claim.document_id, attempt=claim.attempt)
            )

        await self._commit(job, begin)
        await self.announcer.announce(claim.tenant_id, claim.document_id)
        pages = await self._read_pages(job)
        job.pages = len(pages)
        if not any(map(_has_words, pages)):
            raise GaveUp(FailureCode.NO_TEXT_LAYER)
        with job.stage("chunk"):
            texts = await asyncio.to_thread(self.chunker().split, pages)
        chunks = [
            ChunkDraft(
                ordinal=chunk.ordinal,
                page=chunk.page,
                page_to=chunk.page_to,
                char_start=chunk.char_start,
                char_end=chunk.char_end,
                text=chunk.text,
                token_count=chunk.token_count,
                language=chunk.language,
            )
            for chunk in texts
            if chunk.ordinal > claim.resume_after
        ]
        return await self._embed_and_store(job, chunks)

    async def _read_pages(self, job: _Job) -> list[str]:
        claim = job.claim
        pages: list[str] = []
        with tempfile.TemporaryDirectory(prefix=f"{WORK_FOLDER}{os.getpid()}-") as folder:
            path = Path(folder) / "document"
            with job.stage("fetch"):
                if not await self.blobs.fetch(claim.blob_key, path, max_bytes=self.limits.max_bytes):
                    raise GaveUp(FailureCode.TOO_LARGE)
            told = time.monotonic()
            with job.stage("extract"):
                async with contextlib.aclosing(self.reader.read(path, claim.media_type)) as windows:
                    async for window in windows:
                        pages.extend(window.texts)
                        if time.monotonic() - told >= _PROGRESS_EVERY:
                            await self._tell_progress(job, window.page_count, len(pages))
                            told = time.monotonic()
        return pages

    async def _tell_progress(self, job: _Job, pages: int, pages_done: int) -> None:
        async def record(tx: Transaction) -> None:
            await tx.writes.record_progress(job.claim, pages=pages, pages_done=pages_done)

        await self._commit(job, record)
        await self.announcer.announce(job.claim.tenant_id, job.claim.document_id)

    async def _embed_and_store(self, job: _Job, chunks: Sequence[ChunkDraft]) -> Completion:
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
        self, job: _Job, embedder: Embedder, batch: Sequence[ChunkDraft], embedded: EmbeddingBatch, tokens_left: int
    ) -> None:
        async def store(tx: Transaction) -> None:
            await tx.writes.write_chunks(job.claim, embedder.space, batch, embedded.vectors)
            # without the hold: an event that names it ends it, and the rest of the document still needs it
            tx.outbox.add(self._usage(job, embedder, embedded.tokens, embedded.estimated, hold_id=None))

        with job.stage("store"):
            await self._commit(job, store)
        job.unbooked_tokens -= embedded.tokens
        if job.hold_id:
            await self.quota.renew(job.hold_id, self.limits.lease * 2, tokens_left)

    async def _finish(
        self, job: _Job, embedder: Embedder, last: tuple[Sequence[ChunkDraft], EmbeddingBatch] | None
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

        return await self._commit(job, finish)

    def _usage(
        self, job: _Job, embedder: Embedder, tokens: int, estimated: bool, hold_id: HoldId | None
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

    async def _settle(self, job: _Job, error: Exception) -> None:
        """Decide what becomes of a document whose ingestion raised; raises UpstreamUnavailable when it waits again."""
        attempts_left = job.claim.attempt < self.limits.max_attempts
        match error:
            case GaveUp():
                await self._fail(job, error.code)
            case Unreadable():
                await self._fail(job, FailureCode(error.code))
            case BlobMissing():
                await self._fail(job, FailureCode.FILE_MISSING)
            case QuotaExceeded():
                await self._fail(job, FailureCode.QUOTA_EXCEEDED, error.detail)
            case EmbeddingRefused():
                await self._fail(job, FailureCode.PROVIDER_REFUSED, error.detail)
            case RateLimited():
                await self._postpone(job, FailureCode.EMBEDDING_UNAVAILABLE, error.retry_after, spends_attempt=False)
            case EmbeddingUnavailable() if attempts_left:
                await self._postpone(job, FailureCode.EMBEDDING_UNAVAILABLE, error.retry_after, spends_attempt=True)
            case EmbeddingUnavailable():
                await self._fail(job, FailureCode.EMBEDDING_UNAVAILABLE, bury=True)
            case UpstreamUnavailable() | ParserStarved():
                await self._postpone(job, FailureCode.INGEST_FAILED, None, spends_attempt=False)
            case _ if attempts_left:
                logger.error("document.attempt_failed", exc_info=error)
                await self._postpone(job, FailureCode.INGEST_FAILED, None, spends_attempt=True)
            case _:
                logger.error("document.attempt_failed", exc_info=error)
                await self._fail(job, FailureCode.INGEST_FAILED, bury=True)

    async def _fail(self, job: _Job, code: FailureCode, told: str | None = None, *, bury: bool = False) -> None:
        claim = job.claim
        detail = explain(code, self.limits)
        if told:
            detail = f"{detail} ({told})"

        async def fail(tx: Transaction) -> None:
            await tx.writes.fail(claim, code=code, detail=detail, retryable=is_retryable(code))
            await self._book_rest(tx, job)
            tx.outbox.add(
                DocumentFailed(
                    tenant_id=claim.tenant_id,
                    document_id=claim.document_id,
                    error_code=code,
                    error_detail=detail,
                    attempts=claim.attempt,
                    retryable=is_retryable(code),
                )
            )

        with contextlib.suppress(ClaimLost):
            await self._commit(job, fail)
            logger.warning("document.failed", code=code.value)
            self.meter.finished(code.value)
            if bury:
                await self.dead_letters.bury(_ticket_of(claim))
        await self._drop_hold(job)
        await self.announcer.announce(claim.tenant_id, claim.document_id)

    async def _postpone(self, job: _Job, code: FailureCode, asked: timedelta | None, *, spends_attempt: bool) -> None:
        claim = job.claim
        delay = max(asked or timedelta(0), delay_after(claim.attempt))

        async def postpone(tx: Transaction) -> None:
            await tx.writes.postpone(
                claim, delay=delay, code=code, detail=explain(code, self.limits), spends_attempt=spends_attempt
            )
            await self._book_rest(tx, job)

        try:
            await self._commit(job, postpone)
        except ClaimLost:
            return
        finally:
            await self._drop_hold(job)
        logger.info("document.postponed", code=code.value, seconds=delay.total_seconds())
        self.meter.finished("postponed")
        await self.announcer.announce(claim.tenant_id, claim.document_id)
        raise UpstreamUnavailable("The document waits for its next attempt.", retry_after=delay)

    async def _release(self, job: _Job) -> None:
        """The worker stops: the document is free for another one at once."""

        async def release(tx: Transaction) -> None:
            await tx.writes.release(job.claim)
            await self._book_rest(tx, job)

        with contextlib.suppress(ClaimLost, UpstreamUnavailable):
            async with self.uow(job.claim.tenant_id) as tx:
                await release(tx)
            logger.info("document.released")
        await self._drop_hold(job)

    async def _book_rest(self, tx: Transaction, job: _Job) -> None:
        """Tokens that were paid for and led to nothing are booked all the same; the event also ends the hold."""
        if job.unbooked_tokens:
            embedder = await self.embedder()
            tx.outbox.add(self._usage(job, embedder, job.unbooked_tokens, job.estimated, hold_id=job.hold_id))

    async def _drop_hold(self, job: _Job) -> None:
        if job.hold_id and not job.unbooked_tokens:
            await self.quota.drop(job.hold_id)

    async def _keep_alive(self, job: _Job, ingest: "asyncio.Future[Completion]") -> None:
        """Renew the lease until cancelled; a lost claim cancels the work."""
        while True:
            await asyncio.sleep(self.limits.lease.total_seconds() / 3)
            try:
                async with self.uow(job.claim.tenant_id) as tx:
                    await tx.writes.renew(job.claim, lease=self.limits.lease)
            except ClaimLost:
                ingest.cancel()
                raise
            except UpstreamUnavailable:
                continue
            if job.hold_id:
                await self.quota.renew(job.hold_id, self.limits.lease * 2)

    async def _commit(self, job: _Job, effect: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `effect` in the tenant's transaction, again while the database is away: what was read and embedded is
        kept.
        """
        deadline = time.monotonic() + self.patience.total_seconds()
        pause = 0.1
        while True:
            try:
                async with self.uow(job.claim.tenant_id) as tx:
                    return await effect(tx)
            except UpstreamUnavailable:
                if time.monotonic() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)

    async def fail_exhausted(self) -> None:
        """Fail the documents that took their worker down too often."""
        async with self.uow.system() as tx:
            exhausted = await tx.claims.fail_exhausted(max_attempts=self.limits.max_attempts)
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
            await self.announcer.announce(document.tenant_id, document.document_id)

    async def remove_blobs(self, tenant_id: TenantId, document_id: DocumentId) -> None:
        """Delete what is left of a deleted document; does nothing for one that is there."""
        async with self.uow(tenant_id) as tx:
            if await tx.writes.exists(tenant_id, document_id):
                logger.warning("document.not_deleted", document_id=str(document_id))
                return
        objects = await self.blobs.delete_document(tenant_id, document_id)
        async with self.uow.system() as tx:
            await tx.claims.purge(Tombstone(document_id, tenant_id, ""))
        logger.info("document.blobs_deleted", document_id=str(document_id), objects=objects)

    async def bury_tombstones(self, older_than: timedelta) -> None:
        """Finish deletions whose event was lost."""
        async with self.uow.system() as tx:
            tombstones = await tx.claims.list_tombstones(older_than=older_than)
        for tombstone in tombstones:
            await self.remove_blobs(tombstone.tenant_id, tombstone.id)

    async def requeue_failed(self, document_id: DocumentId | None = None) -> Sequence[WaitingDocument]:
        """Give failed documents another chance: one, whatever its reason, or all whose reason may have passed."""
        async with self.uow.system() as tx:
            return await tx.claims.requeue_failed(document_id=document_id)

    async def measure_queue(self) -> None:
        """Show the queue's length and age to whoever scales the workers."""
        async with self.uow.system() as tx:
            depth = await tx.claims.measure_queue()
        self.meter.queue(depth)


def _has_words(page: str) -> bool:
    return any(map(str.isalnum, page))


def _ticket_of(claim: Claim) -> WaitingDocument:
    return WaitingDocument(
        document_id=claim.document_id,
        tenant_id=claim.tenant_id,
        collection_id=claim.collection_id,
        uploaded_by=claim.uploaded_by,
        sha256=claim.sha256,
        size_bytes=claim.size_bytes,
        media_type=claim.media_type,
        attempts=claim.attempt,
        waiting_since=claim.lease_expires_at,
    )
