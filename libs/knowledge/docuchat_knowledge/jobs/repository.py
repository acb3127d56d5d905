"""What a worker writes under its claim: chunks with their words and vectors, progress, and how the job ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import asyncpg
import numpy as np
import numpy.typing as npt
import structlog

from docuchat_common.db import load_queries
from docuchat_common.ids import DocumentId, TenantId, uuid7
from docuchat_knowledge.folding import fold_chunk
from docuchat_knowledge.jobs.domain import ChunkDraft, Claim, Completion
from docuchat_knowledge.jobs.errors import ChunksOutOfOrder, ClaimLost
from docuchat_knowledge.spaces.errors import SpaceUnknown
from docuchat_knowledge.spaces.repository import find_space
from docuchat_knowledge.vectors import HalfVector
from docuchat_models.embeddings import are_vectors
from docuchat_models.errors import EmbeddingInvalid
from docuchat_models.spaces import EmbeddingSpace

logger = structlog.get_logger()
_queries = load_queries(__package__)


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
            headings=[None if chunk.heading is None else chunk.heading.replace("\0", "") for chunk in drafts],
            texts=[chunk.text.replace("\0", "") for chunk in drafts],
            search_keys=[fold_chunk(chunk.text, chunk.language) for chunk in drafts],
            embeddings=[HalfVector(vector) for _, vector in new],
        )

    async def swap(
        self,
        claim: Claim,
        *,
        pages: int,
        pages_unread: int = 0,
        warnings: Sequence[str] = (),
        info: Mapping[str, object] = MappingProxyType({}),
    ) -> Completion:
        """Make the claim's generation the live one, drop all others, and set the document ready.

        `pages_unread`: pages that show more than could be read; `warnings`: codes for whoever reads answers from it;
        `info`: what it says of itself.
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
                info=json.dumps(dict(info), ensure_ascii=False),
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

    async def list_uploaded_before(self, tenant_id: TenantId, before: datetime, limit: int) -> list[DocumentId]:
        """Documents of a tenant that were uploaded before a moment, the oldest first."""
        rows = _queries.list_uploaded_before(self._connection, tenant_id=tenant_id, before=before, row_limit=limit)
        return [DocumentId(row["id"]) async for row in rows]

    async def exists(self, tenant_id: TenantId, document_id: DocumentId) -> bool:
        """Whether the document is there and not deleted."""
        return bool(await _queries.document_exists(self._connection, tenant_id=tenant_id, document_id=document_id))


def _under(claim: Claim) -> dict[str, Any]:
    return {"tenant_id": claim.tenant_id, "document_id": claim.document_id, "token": claim.token}


def _held(row: asyncpg.Record | None) -> asyncpg.Record:
    if row is None:
        raise ClaimLost
    return row
