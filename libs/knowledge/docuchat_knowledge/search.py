"""Hybrid search: a vector leg and a BM25 leg over the tenant's live chunks, fused."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import numpy as np
import numpy.typing as npt
from docuchat_common.ids import ChunkId, CollectionId, DocumentId, TenantId

from docuchat_knowledge.domain import EmbeddingSpace, Readiness, ScoredChunk


class SearchStatistics:
    """What one process remembers between queries: space ids, sizes and document frequencies of words.

    One instance per process, shared by all its `Searcher`s; not tied to a connection. Entries age out, so counts may
    lag behind by `ttl`; rows are never cached.
    """


class Searcher:
    """Search in one tenant's documents, within the caller's unit of work (role: chat; select only)."""

    def __init__(self, connection: asyncpg.Connection, statistics: SearchStatistics) -> None:
        self._connection = connection
        self._statistics = statistics

    async def search(
        self,
        tenant_id: TenantId,
        query_text: str,
        query_vector: npt.NDArray[np.float32] | None,
        space: EmbeddingSpace,
        limit: int,
        *,
        document_ids: Sequence[DocumentId] | None = None,
        collection_id: CollectionId | None = None,
    ) -> Sequence[ScoredChunk]:
        """The best chunks, best first, from live generations only.

        `query_vector` is (d,) float32 in `space`; None searches by words alone. An unknown space gives no vector leg.
        """
        raise NotImplementedError

    async def check_readiness(
        self,
        tenant_id: TenantId,
        *,
        document_ids: Sequence[DocumentId] | None = None,
        collection_id: CollectionId | None = None,
    ) -> Readiness:
        """How many documents of the asked set are in which state."""
        raise NotImplementedError

    async def list_chunks(self, tenant_id: TenantId, chunk_ids: Sequence[ChunkId]) -> Sequence[ScoredChunk]:
        """Live chunks by id, in the order asked, with score 0; ids that are gone are left out."""
        raise NotImplementedError
