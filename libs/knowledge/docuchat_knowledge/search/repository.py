"""The queries of one search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg

from docuchat_common.db import load_queries
from docuchat_common.ids import CollectionId, DocumentId, TenantId
from docuchat_knowledge.search.domain import SearchBounds
from docuchat_knowledge.search.ranking import ChunkWords, QueryWord, score_words
from docuchat_knowledge.search.words import as_tsquery, split_by_budget
from docuchat_knowledge.vectors import HalfVector

_queries = load_queries(__package__)


class Scope:
    """The queries of one search: tenant, filters and how many candidates a leg gives."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        tenant_id: TenantId,
        document_ids: Sequence[DocumentId] | None,
        collection_id: CollectionId | None,
        row_limit: int,
        bounds: SearchBounds,
    ) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._document_ids = document_ids
        self._collection_id = collection_id
        self._row_limit = row_limit
        self._bounds = bounds

    async def rank_by_vector(self, space_id: int, query: HalfVector, chunks: int) -> dict[UUID, float]:
        """The nearest chunks and their cosines, nearest first."""
        common = {"query": query, "row_limit": self._row_limit, "collection_id": self._collection_id}
        if self._document_ids is not None:
            rows = [
                row
                async for row in _queries.rank_documents_by_vector_exactly(
                    self._connection,
                    tenant_id=self._tenant_id,
                    space_id=space_id,
                    document_ids=self._document_ids,
                    **common,
                )
            ]
        else:
            rows = []
            if chunks > self._bounds.exact_scan:
                rows = [
                    row
                    async for row in _queries.rank_by_vector_index(
                        self._connection, space_id=space_id, dimension=query.dimensions(), **common
                    )
                ]
            if len(rows) < min(self._row_limit, chunks):
                # few enough to read them all; or the index gave up among what is not the reader's to see
                rows = [
                    row
                    async for row in _queries.rank_by_vector_exactly(
                        self._connection, tenant_id=self._tenant_id, space_id=space_id, **common
                    )
                ]
        return {row["chunk_id"]: row["similarity"] for row in rows}

    async def rank_by_words(self, words: Sequence[QueryWord], mean_length: float) -> list[UUID]:
        """The best chunks by BM25, best first."""
        distinct = list({word.lexemes: word for word in words}.values())
        weights = {lexeme: word.weight for word in distinct for lexeme in word.lexemes}
        arguments: dict[str, object] = {
            "tenant_id": self._tenant_id,
            "collection_id": self._collection_id,
            "queries": [as_tsquery(lexeme) for lexeme in weights],
            "weights": list(weights.values()),
            "mean_length": mean_length,
            "row_limit": self._row_limit,
        }
        if self._document_ids is not None:
            rows = _queries.rank_words_in_documents(self._connection, document_ids=self._document_ids, **arguments)
            return [row["chunk_id"] async for row in rows]
        scores: dict[UUID, float] = {}
        rare, common_words = split_by_budget(distinct, self._bounds.candidates)
        if rare:
            scores = await self._rank_with_words(rare, arguments, all_of_them=False)
        if common_words and len(scores) < self._row_limit:
            # nothing telling enough to look up alone: chunks that have the rarest of the common words together,
            # then any
            for size in (3, 2):
                if len(common_words) >= size and len(scores) < self._row_limit:
                    scores |= await self._rank_with_words(common_words[:size], arguments, all_of_them=True)
            if not scores:
                scores = await self._rank_with_words(common_words[:1], arguments, all_of_them=False)
        return sorted(scores, key=lambda chunk: (-scores[chunk], chunk))[: self._row_limit]

    async def _rank_with_words(
        self, words: Sequence[QueryWord], arguments: Mapping[str, object], *, all_of_them: bool
    ) -> dict[UUID, float]:
        # together they must be found in one language: the first form of each is that of the tenant's main one
        wanted = [min(word.lexemes) for word in words] if all_of_them else [f for word in words for f in word.lexemes]
        rows = _queries.rank_by_words(
            self._connection,
            wanted=wanted,
            all_of_them=all_of_them,
            candidate_limit=self._bounds.candidates,
            **arguments,
        )
        return {row["chunk_id"]: row["score"] async for row in rows}

    async def score_words(
        self, words: Sequence[QueryWord], chunk_ids: Sequence[UUID], mean_length: float
    ) -> dict[UUID, float]:
        """Word scores of candidates; those without any of the words are left out."""
        rows = [
            row
            async for row in _queries.list_word_positions(
                self._connection,
                tenant_id=self._tenant_id,
                chunk_ids=chunk_ids,
                lexemes=sorted({lexeme for word in words for lexeme in word.lexemes}),
            )
        ]
        lengths: dict[UUID, int] = {}
        positions: dict[UUID, dict[str, Sequence[int]]] = {}
        for row in rows:
            lengths[row["chunk_id"]] = row["term_count"]
            positions.setdefault(row["chunk_id"], {})[row["lexeme"]] = row["positions"] or ()
        return {
            chunk: score_words(words, ChunkWords(lengths[chunk], places), mean_length)
            for chunk, places in positions.items()
        }

    async def list_similarities(self, space_id: int, query: HalfVector, chunk_ids: Sequence[UUID]) -> dict[UUID, float]:
        """Cosines of chunks that the vector leg did not give."""
        if not chunk_ids:
            return {}
        rows = [
            row
            async for row in _queries.list_similarities(
                self._connection, tenant_id=self._tenant_id, space_id=space_id, query=query, chunk_ids=chunk_ids
            )
        ]
        return {row["chunk_id"]: row["similarity"] for row in rows}
