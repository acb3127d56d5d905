"""Hybrid search: a vector leg and a BM25 leg over the tenant's live chunks, fused.

Each leg nominates candidates; all candidates are then scored in both, so that none suffers for having been found by one
leg only. The work of a query is bounded whatever the tenant's size: the vector leg reads all vectors of a small
tenant and uses
the index of a large one, the word leg looks up the rarest words only as far as a budget goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import asyncpg
import numpy as np
import numpy.typing as npt

from docuchat_common.db import load_queries
from docuchat_common.ids import ChunkId, CollectionId, DocumentId, TenantId
from docuchat_knowledge.collections.errors import CollectionNotFound
from docuchat_knowledge.documents.errors import DocumentNotFound
from docuchat_knowledge.folding import fold, fold_query
from docuchat_knowledge.search.domain import Readiness, ScoredChunk
from docuchat_knowledge.search.ranking import QueryWord, fuse, inverse_document_frequency
from docuchat_knowledge.search.repository import Scope
from docuchat_knowledge.search.statistics import Searched, SearchStatistics
from docuchat_knowledge.search.words import drop_asking_words, words_by_position
from docuchat_knowledge.vectors import HalfVector
from docuchat_models.embeddings import are_vectors
from docuchat_models.spaces import EmbeddingSpace

_queries = load_queries(__package__)

NOMINATIONS = 24
"""How many candidates each leg gives."""
EF_SEARCH = 120
LONGEST_QUERY = 2_000
"""Characters of a question that are searched for."""
MOST_WORDS = 24
"""Words of a question that are searched for: the most telling ones."""


class Searcher:
    """Search in one tenant's documents, within the caller's unit of work (role: chat; select only)."""

    def __init__(self, connection: asyncpg.Connection, statistics: SearchStatistics) -> None:
        """`connection` is of a pool that was opened with `init=docuchat_knowledge.vectors.register_vector`."""
        self._connection = connection
        self._statistics = statistics
        self.searched = ""
        """A name of the collections that the last search looked through, the same for all who may see the same."""

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

        `query_vector` is (d,) float32 in `space`; None searches by words alone, an empty text by the vector alone. An
        unknown
        space gives no vector leg.
        """
        if limit < 1 or (document_ids is not None and not document_ids):
            return []
        size = await _queries.measure_readable(
            self._connection, tenant_id=tenant_id, collection_id=collection_id, ef_search=str(EF_SEARCH)
        )
        self.searched = size["searched"] or ""
        if not size["chunks"]:
            return []
        nominations = max(NOMINATIONS, 2 * limit)
        scope = Scope(self._connection, tenant_id, document_ids, collection_id, nominations, self._statistics.bounds)
        searched = Searched(tenant_id, collection_id, size["searched"], size["chunks"])
        mean_length = size["terms"] / size["chunks"]

        vector = HalfVector(query_vector) if query_vector is not None and are_vectors(query_vector[None]) else None
        stored = None if vector is None else await self._statistics.find_space(self._connection, space)
        by_vector: dict[UUID, float] = {}
        if stored is not None and vector is not None:
            by_vector = await scope.rank_by_vector(stored.id, vector, size["chunks"])

        words = await self._analyze(query_text, size["languages"], searched)
        by_words = await scope.rank_by_words(words, mean_length) if words else []

        pool = list(dict.fromkeys([*by_words, *by_vector]))
        if not pool:
            return []
        word_scores = await scope.score_words(words, pool, mean_length) if words else {}
        similarities = dict(by_vector)
        if stored is not None and vector is not None:
            unknown = [chunk for chunk in pool if chunk not in by_vector]
            similarities |= await scope.list_similarities(stored.id, vector, unknown)
        fused = fuse(
            word_scores, similarities, list(by_vector.values()), vector_weight=stored.vector_weight if stored else 0.0
        )
        best = sorted(fused, key=lambda chunk: (-fused[chunk], chunk))[:limit]

        vector_ranks = {chunk: rank for rank, chunk in enumerate(by_vector, start=1)}
        text_ranks = _ranks(word_scores)
        found = {chunk.chunk_id: chunk for chunk in await self.list_chunks(tenant_id, [ChunkId(i) for i in best])}
        return [
            replace(
                found[ChunkId(chunk)],
                score=fused[chunk],
                vector_rank=vector_ranks.get(chunk),
                text_rank=text_ranks.get(chunk),
                similarity=similarities.get(chunk),
                text_score=word_scores.get(chunk),
            )
            for chunk in best
            if chunk in found
        ]

    async def check_readiness(
        self,
        tenant_id: TenantId,
        *,
        document_ids: Sequence[DocumentId] | None = None,
        collection_id: CollectionId | None = None,
    ) -> Readiness:
        """How many documents of the asked set are in which state."""
        row = await _queries.check_readiness(
            self._connection, tenant_id=tenant_id, document_ids=document_ids, collection_id=collection_id
        )
        return Readiness(
            queued=row["queued"],
            processing=row["processing"],
            ready=row["ready"],
            failed=row["failed"],
            chunks=int(row["chunks"]),
            outdated=row["outdated"],
        )

    async def require_documents(self, tenant_id: TenantId, document_ids: Sequence[DocumentId]) -> None:
        """Raise DocumentNotFound, which names them, for ids that are no document of the tenant."""
        unknown = list(map(str, await self.list_unknown(tenant_id, document_ids)))
        if unknown:
            raise DocumentNotFound(f"There is no such document: {', '.join(unknown)}.", document_ids=unknown)

    async def require_collection(self, tenant_id: TenantId, collection_id: CollectionId) -> None:
        """Raise CollectionNotFound, which names it, for an id that is no collection of the tenant."""
        if not await _queries.has_collection(self._connection, tenant_id=tenant_id, collection_id=collection_id):
            name = str(collection_id)
            raise CollectionNotFound(f"There is no such collection: {name}.", collection_id=name)

    async def list_unknown(self, tenant_id: TenantId, document_ids: Sequence[DocumentId]) -> list[DocumentId]:
        """Of these ids those that are no document, or none that the reader may see."""
        rows = _queries.list_unknown_documents(self._connection, tenant_id=tenant_id, document_ids=document_ids)
        return [DocumentId(row["id"]) async for row in rows]

    async def list_unknown_collections(
        self, tenant_id: TenantId, collection_ids: Sequence[CollectionId]
    ) -> list[CollectionId]:
        """Of these ids those that are no collection, or none that the reader may see."""
        rows = _queries.list_unknown_collections(self._connection, tenant_id=tenant_id, collection_ids=collection_ids)
        return [CollectionId(row["id"]) async for row in rows]

    async def list_names(
        self, tenant_id: TenantId, document_ids: Sequence[DocumentId]
    ) -> list[tuple[DocumentId, str, str]]:
        """Id, title and file name of those that are documents that the reader may see."""
        rows = _queries.list_document_names(self._connection, tenant_id=tenant_id, document_ids=document_ids)
        return [(DocumentId(row["id"]), row["title"], row["filename"]) async for row in rows]

    async def list_deleted(self, document_ids: Sequence[DocumentId]) -> list[DocumentId]:
        """Of these ids those that are no document of the tenant any more, whoever may see it."""
        rows = _queries.list_deleted_documents(self._connection, document_ids=document_ids)
        return [DocumentId(row["id"]) async for row in rows]

    async def list_chunks(self, tenant_id: TenantId, chunk_ids: Sequence[ChunkId]) -> Sequence[ScoredChunk]:
        """Live chunks by id, in the order asked, with score 0; ids that are gone are left out."""
        rows = [row async for row in _queries.list_chunks(self._connection, tenant_id=tenant_id, chunk_ids=chunk_ids)]
        found = {row["id"]: _unscored(row) for row in rows}
        return [found[chunk_id] for chunk_id in chunk_ids if chunk_id in found]

    async def list_openings(self, tenant_id: TenantId, document_ids: Sequence[DocumentId]) -> Sequence[ScoredChunk]:
        """The first chunk of each document, in the order asked, with score 0; documents that are gone are left out."""
        rows = _queries.list_openings(self._connection, tenant_id=tenant_id, document_ids=document_ids)
        found = await self.list_chunks(tenant_id, [ChunkId(row["chunk_id"]) async for row in rows])
        return sorted(found, key=lambda chunk: document_ids.index(chunk.document_id))

    async def _analyze(self, text: str, languages: Sequence[str], searched: Searched) -> Sequence[QueryWord]:
        """The question's telling words, in the forms that the searched chunks would have them in."""
        text = text[:LONGEST_QUERY]
        if not text.strip():
            return []
        asked = sorted({*languages, "en"})
        key = drop_asking_words(fold(text))
        rows = [
            row
            async for row in _queries.analyze_query(
                self._connection, languages=asked, search_keys=[fold_query(key, language) for language in asked]
            )
        ]
        by_position = words_by_position(rows, set(languages))
        lexemes = sorted({lexeme for forms in by_position.values() for lexeme in forms})
        if not lexemes:
            return []
        counts = await self._statistics.count_words(self._connection, searched, lexemes)
        chunks = searched.chunks
        words = []
        for position, forms in sorted(by_position.items()):
            count = min(sum(counts.get(form, 0) for form in forms), chunks)
            words.append(QueryWord(position, frozenset(forms), count, inverse_document_frequency(count, chunks)))
        if len(words) > MOST_WORDS:
            bound = sorted((word.weight for word in words), reverse=True)[MOST_WORDS - 1]
            words = [word for word in words if word.weight >= bound][:MOST_WORDS]
        return words


def _ranks(scores: Mapping[UUID, float]) -> dict[UUID, int]:
    ordered = sorted(scores, key=lambda chunk: (-scores[chunk], chunk))
    return {chunk: rank for rank, chunk in enumerate(ordered, start=1)}


def _unscored(row: asyncpg.Record) -> ScoredChunk:
    return ScoredChunk(
        chunk_id=row["id"],
        document_id=row["document_id"],
        collection_id=row["collection_id"],
        title=row["title"],
        filename=row["filename"],
        ordinal=row["ordinal"],
        page=row["page"],
        page_to=row["page_to"],
        char_start=row["char_start"],
        char_end=row["char_end"],
        text=row["text"],
        token_count=row["token_count"],
        score=0.0,
        vector_rank=None,
        text_rank=None,
        similarity=None,
        text_score=None,
    )
