"""The ingest worker's side of the knowledge base: claim, fill, swap, fail, and the sweeps of the reconciler.

The documents row is the truth of a job; a broker message is only a ticket to take work, and the worker takes whatever
is fairest then: of the tenant with the fewest running documents the oldest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import numpy as np
import numpy.typing as npt
import structlog

from docuchat_common.db import load_queries
from docuchat_common.ids import DocumentId, TenantId, uuid7
from docuchat_knowledge.folding import fold_chunk
from docuchat_knowledge.jobs.domain import ChunkDraft, Claim, Completion, QueueDepth, Tombstone, WaitingDocument
from docuchat_knowledge.jobs.errors import ChunksOutOfOrder, ClaimLost
from docuchat_knowledge.jobs.rows import waiting_document
from docuchat_knowledge.spaces.errors import SpaceUnknown
from docuchat_knowledge.spaces.repository import find_space
from docuchat_knowledge.vectors import HalfVector
from docuchat_models.embeddings import are_vectors
from docuchat_models.errors import EmbeddingInvalid
from docuchat_models.spaces import EmbeddingSpace

logger = structlog.get_logger()
_queries = load_queries(__package__)

LOCK_CLASS = 0x0D0C_0001
"""Of the workers' signs of life (`docuchat_common.db.presence.Presence`)."""
RESTART_GRACE = timedelta(seconds=3)
"""After a restart of the server no worker holds its lock yet; for so long all count as alive."""
_EXHAUSTED_DETAIL = "The worker stopped unexpectedly each time it tried this document."


class ClaimStore:
    """What needs sight of all tenants: claiming and the sweeps (role: ingest_system, `async with uow.system()`)."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def claim(self, worker_id: int, *, lease: timedelta, max_attempts: int, recipe: str = "") -> Claim | None:
        """Take the fairest document that waits or whose worker is dead; None when there is none.

        `recipe` names how chunks are made (splitter, sizes, embedding space): an unfinished generation of another
        recipe
        is dropped instead of continued. A document that spent `max_attempts` is not handed out: see `fail_exhausted`.
        """
        row = await _queries.claim_document(
            self._connection,
            lock_class=LOCK_CLASS,
            restart_grace=RESTART_GRACE,
            max_attempts=max_attempts,
            token=uuid4(),
            worker_id=worker_id,
            lease=lease,
            recipe=recipe,
        )
        if row is None:
            return None
        place = {"tenant_id": row["tenant_id"], "document_id": row["id"], "generation": row["generation"]}
        if row["draft_is_stale"]:
            await _queries.delete_generation(self._connection, **place)
        return Claim(
            document_id=row["id"],
            tenant_id=row["tenant_id"],
            collection_id=row["collection_id"],
            token=row["claim_token"],
            generation=row["generation"],
            attempt=row["attempts"],
            resume_after=await _queries.find_last_ordinal(self._connection, **place),
            title=row["title"],
            filename=row["filename"],
            media_type=row["media_type"],
            size_bytes=row["size_bytes"],
            sha256=row["sha256"],
            blob_key=row["blob_key"],
            uploaded_by=row["uploaded_by"],
            lease_expires_at=row["lease_expires_at"],
        )

    async def fail_exhausted(self, *, max_attempts: int) -> Sequence[WaitingDocument]:
        """Fail, as `worker_crashed`, the documents whose last allowed attempt died with its worker; returns them."""
        rows = [
            row
            async for row in _queries.fail_exhausted(
                self._connection,
                lock_class=LOCK_CLASS,
                restart_grace=RESTART_GRACE,
                max_attempts=max_attempts,
                detail=_EXHAUSTED_DETAIL,
            )
        ]
        return [waiting_document(row) for row in rows]

    async def requeue_given_up(self, document_id: DocumentId) -> bool:
        """Queue a document that was given up after all its attempts; False when it is none."""
        return await _queries.requeue_given_up(self._connection, document_id=document_id) is not None

    async def end_waits(self, *, tenant_id: TenantId | None = None) -> int:
        """Let the documents of one tenant, or of all, that wait for a time be taken at once; returns how many."""
        return len([row async for row in _queries.end_waits(self._connection, tenant_id=tenant_id)])

    async def list_waiting(self, *, older_than: timedelta, limit: int = 500) -> Sequence[WaitingDocument]:
        """Documents which could be claimed for `older_than` and were not: their tickets may be lost."""
        rows = [
            row
            async for row in _queries.list_waiting(
                self._connection,
                lock_class=LOCK_CLASS,
                restart_grace=RESTART_GRACE,
                older_than=older_than,
                row_limit=limit,
            )
        ]
        return [waiting_document(row) for row in rows]

    async def bury_abandoned(self, *, older_than: timedelta) -> int:
        """Turn uploads whose file never came into tombstones; returns how many."""
        return len([row async for row in _queries.bury_abandoned(self._connection, older_than=older_than)])

    async def list_tombstones(self, *, older_than: timedelta, limit: int = 100) -> Sequence[Tombstone]:
        """Deleted documents whose blob was not confirmed gone for `older_than`."""
        rows = [row async for row in _queries.list_tombstones(self._connection, older_than=older_than, row_limit=limit)]
        return [Tombstone(row["id"], row["tenant_id"], row["blob_key"]) for row in rows]

    async def purge(self, tombstone: Tombstone) -> None:
        """Take a tombstone away, after its blob is gone."""
        await _queries.purge_document(self._connection, tenant_id=tombstone.tenant_id, document_id=tombstone.id)

    async def is_alive(self, worker_id: int) -> bool:
        """Whether the worker's process is there (`Presence`)."""
        return bool(
            await _queries.worker_is_alive(
                self._connection, lock_class=LOCK_CLASS, worker_id=worker_id, restart_grace=RESTART_GRACE
            )
        )

    async def measure_queue(self) -> QueueDepth:
        """How much waits, how much runs, and how long the oldest that could run has waited."""
        row = await _queries.measure_queue(self._connection)
        return QueueDepth(row["queued"], row["processing"], row["oldest_age"])


class WorkerStore:
    """Writes under a claim, within the tenant's unit of work (role: ingest, `async with uow(claim.tenant_id)`).

    Each of them raises ClaimLost when the claim's token is no longer the document's: it was deleted, or another worker
    took it over. The worker then drops the job without a word.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        """`connection` is of a pool that was opened with `init=docuchat_knowledge.vectors.register_vector`."""
        self._connection = connection

    async def renew(self, claim: Claim, *, lease: timedelta) -> None:
        """The heartbeat."""
        _held(await _queries.renew_claim(self._connection, **_under(claim), lease=lease))

    async def record_progress(self, claim: Claim, *, pages: int | None = None, pages_done: int | None = None) -> None:
        """Tell how many pages there are and how many are done; what is not given stays."""
        _held(await _queries.record_progress(self._connection, **_under(claim), pages=pages, pages_done=pages_done))

    async def write_chunks(
        self,
        claim: Claim,
        space: EmbeddingSpace,
        chunks: Sequence[ChunkDraft],
        vectors: npt.NDArray[np.float32],
    ) -> None:
        """Store the next chunks of the claim's generation with their vectors, (n, d) float32, in binary.

        They are not searched before `swap`. Ordinals must follow on from `claim.resume_after` or from the last call;
        chunks that are stored already are skipped, so a repeat does no harm. Raises SpaceUnknown, ChunksOutOfOrder,
        EmbeddingInvalid.
        """
        if vectors.shape != (len(chunks), space.dimension):
            raise ValueError(f"{len(chunks)} chunks in {space.dimension} dimensions, but vectors are {vectors.shape}")
        if not are_vectors(vectors):
            raise EmbeddingInvalid
        _held(await _queries.lock_claim(self._connection, **_under(claim)))
        place = {
            "tenant_id": claim.tenant_id,
            "document_id": claim.document_id,
            "generation": claim.generation,
        }
        last = await _queries.find_last_ordinal(self._connection, **place)
        new = [(chunk, vector) for chunk, vector in zip(chunks, vectors, strict=True) if chunk.ordinal > last]
        if [chunk.ordinal for chunk, _ in new] != list(range(last + 1, last + 1 + len(new))):
            raise ChunksOutOfOrder
        if not new:
            return
        stored = await find_space(self._connection, space)
        if stored is None:
            raise SpaceUnknown
        drafts = [chunk for chunk, _ in new]
        await _queries.insert_chunks(
            self._connection,
            **place,
            collection_id=claim.collection_id,
            space_id=stored.id,
            ids=[uuid7() for _ in drafts],
            ordinals=[chunk.ordinal for chunk in drafts],
            pages=[chunk.page for chunk in drafts],
            pages_to=[chunk.page_to for chunk in drafts],
            starts=[chunk.char_start for chunk in drafts],
            ends=[chunk.char_end for chunk in drafts],
            token_counts=[chunk.token_count for chunk in drafts],
            languages=[chunk.language for chunk in drafts],
            texts=[chunk.text.replace("\0", "") for chunk in drafts],
            search_keys=[fold_chunk(chunk.text, chunk.language) for chunk in drafts],
            embeddings=[HalfVector(vector) for _, vector in new],
        )

    async def swap(
        self, claim: Claim, *, pages: int, pages_unread: int = 0, warnings: Sequence[str] = ()
    ) -> Completion:
        """Make the claim's generation the live one, drop all others, and set the document ready.

        `pages_unread`: pages that show more than could be read; `warnings`: codes for whoever reads answers from it.
        """
        _held(await _queries.lock_claim(self._connection, **_under(claim)))
        place: dict[str, Any] = {"tenant_id": claim.tenant_id, "document_id": claim.document_id}
        size = await _queries.measure_generation(self._connection, **place, generation=claim.generation)
        await _queries.delete_other_generations(self._connection, **place, generation=claim.generation)
        before = _held(
            await _queries.set_ready(
                self._connection,
                **_under(claim),
                generation=claim.generation,
                pages=pages,
                chunks=size["chunks"],
                terms=size["terms"],
                space_id=await _queries.find_space_of_generation(
                    self._connection, **place, generation=claim.generation
                ),
                pages_unread=pages_unread,
                warnings=list(warnings),
            )
        )
        await _queries.extend_collection(
            self._connection,
            tenant_id=claim.tenant_id,
            collection_id=claim.collection_id,
            chunks=size["chunks"] - before["chunks_before"],
            terms=size["terms"] - before["terms_before"],
            languages=size["languages"],
        )
        return Completion(claim.document_id, pages, size["chunks"], int(size["tokens"]), claim.generation)

    async def fail(self, claim: Claim, *, code: str, detail: str, retryable: bool) -> None:
        """Set the document failed and drop the unfinished generation; what was live before stays live."""
        _held(
            await _queries.set_failed(self._connection, **_under(claim), code=code, detail=detail, retryable=retryable)
        )
        await _queries.delete_generation(
            self._connection, tenant_id=claim.tenant_id, document_id=claim.document_id, generation=claim.generation
        )

    async def postpone(self, claim: Claim, *, delay: timedelta, code: str, detail: str, spends_attempt: bool) -> None:
        """Give the document back to the queue, not before `delay`; chunks written so far are kept to resume after.

        A provider's 429 does not spend an attempt; an unexplained error does.
        """
        _held(
            await _queries.requeue_document(
                self._connection,
                **_under(claim),
                delay=delay,
                code=code,
                detail=detail,
                spends_attempt=spends_attempt,
            )
        )

    async def release(self, claim: Claim) -> None:
        """Give the document back at once and unspent: the worker is shutting down."""
        _held(
            await _queries.requeue_document(
                self._connection, **_under(claim), delay=timedelta(0), code=None, detail=None, spends_attempt=False
            )
        )

    async def exists(self, tenant_id: TenantId, document_id: DocumentId) -> bool:
        """Whether the document is there and not deleted."""
        return bool(await _queries.document_exists(self._connection, tenant_id=tenant_id, document_id=document_id))


def _under(claim: Claim) -> dict[str, Any]:
    return {"tenant_id": claim.tenant_id, "document_id": claim.document_id, "token": claim.token}


def _held(row: asyncpg.Record | None) -> asyncpg.Record:
    if row is None:
        raise ClaimLost
    return row
