"""Hybrid search: a vector leg and a BM25 leg over the tenant's live chunks, fused.

Each leg nominates candidates; all candidates are then scored in both, so that none suffers for having been found by one
leg only. The work of a query is bounded whatever the tenant's size: the vector leg reads all vectors of a small
tenant and uses
the index of a large one, the word leg looks up the rarest words only as far as a budget goes.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import asyncpg
import numpy as np
import numpy.typing as npt

from docuchat_common.db import load_queries
from docuchat_common.ids import ChunkId, CollectionId, DocumentId, TenantId
from docuchat_knowledge.domain import Readiness, ScoredChunk
from docuchat_knowledge.folding import fold_query
from docuchat_knowledge.ranking import (
    ChunkWords,
    QueryWord,
    fuse,
    inverse_document_frequency,
    score_words,
)
from docuchat_models.spaces import EmbeddingSpace

_queries = load_queries(__package__)

NOMINATIONS = 24
"""How many candidates each leg gives."""
EXACT_SCAN_LIMIT = 20_000
"""Up to so many chunks a tenant's vectors are read one and all: exact, and as fast as the index with its filter."""
COUNT_CAP = 1_000
"""Words are counted no further; what is more common is estimated from a sample."""
SAMPLE_SIZE = 200
COMMON_IN_SAMPLE = 6
"""A word in so many chunks of the sample is estimated from it: 3 % of the tenant's chunks, give or take 1.2 %."""
CANDIDATE_BUDGET = 800
"""Chunks that the word leg scores at most."""
EF_SEARCH = 120
LONGEST_QUERY = 2_000
"""Characters of a question that are searched for."""
MOST_WORDS = 24
"""Words of a question that are searched for: the most telling ones."""


class SearchStatistics:
    """What one process remembers between queries: ids of spaces and how many chunks have a word.

    One instance per process, shared by all its `Searcher`s; not tied to a connection. Only numbers are kept, never
    rows, and
    a number lives for `ttl` and while the tenant keeps its size within 2 %.
    """

    def __init__(self, ttl: timedelta = timedelta(minutes=5), capacity: int = 100_000) -> None:
        self._ttl = ttl.total_seconds()
        self._capacity = capacity
        self._spaces: dict[EmbeddingSpace, int] = {}
        self._counts: OrderedDict[tuple[TenantId, str], tuple[int, int, float]] = OrderedDict()

    async def find_space(self, connection: asyncpg.Connection, space: EmbeddingSpace) -> int | None:
        """The id of a space; None while it is not set up."""
        if space not in self._spaces:
            space_id = await _queries.find_space(
                connection, provider=space.provider, model=space.model, dimension=space.dimension
            )
            if space_id is None:
                return None
            self._spaces[space] = space_id
        return self._spaces[space]

    async def count_words(
        self, connection: asyncpg.Connection, tenant_id: TenantId, lexemes: Sequence[str], chunks: int
    ) -> dict[str, int]:
        """How many of the tenant's `chunks` have each lexeme: exact up to COUNT_CAP, estimated beyond."""
        now = time.monotonic()
        known: dict[str, int] = {}
        for lexeme in lexemes:
            entry = self._counts.get((tenant_id, lexeme))
            if entry is not None and entry[2] > now and abs(entry[1] - chunks) * 50 <= chunks:
                known[lexeme] = entry[0]
        missing = [lexeme for lexeme in lexemes if lexeme not in known]
        if missing:
            counted = await self._count(connection, tenant_id, missing, chunks)
            for lexeme, count in counted.items():
                self._counts[tenant_id, lexeme] = (count, chunks, now + self._ttl)
            known.update(counted)
            while len(self._counts) > self._capacity:
                self._counts.popitem(last=False)
        return known

    async def _count(
        self, connection: asyncpg.Connection, tenant_id: TenantId, lexemes: Sequence[str], chunks: int
    ) -> dict[str, int]:
        counts: dict[str, int] = {}
        if chunks > COUNT_CAP:
            # common words first, from a sample: counting them by the index would read their long posting lists
            rows = _queries.count_terms_in_sample(
                connection,
                tenant_id=tenant_id,
                lexemes=lexemes,
                queries=[_as_tsquery(lexeme) for lexeme in lexemes],
                sample_size=SAMPLE_SIZE,
            )
            async for row in rows:
                if row["chunk_count"] >= COMMON_IN_SAMPLE:
                    counts[row["lexeme"]] = round(row["chunk_count"] * chunks / row["sample_size"])
        rare = [lexeme for lexeme in lexemes if lexeme not in counts]
        if rare:
            async for row in _queries.count_terms(connection, lexemes=rare, cap=COUNT_CAP):
                counts[row["lexeme"]] = row["chunk_count"]
        return counts


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

        `query_vector` is (d,) float32 in `space`; None searches by words alone, an empty text by the vector alone. An
        unknown
        space gives no vector leg.
        """
        if limit < 1 or (document_ids is not None and not document_ids):
            return []
        tenant = await _queries.measure_tenant(self._connection, tenant_id=tenant_id, ef_search=str(EF_SEARCH))
        if not tenant["chunks"]:
            return []
        nominations = max(NOMINATIONS, 2 * limit)
        scope = _Scope(self._connection, tenant_id, document_ids, collection_id, nominations)
        mean_length = tenant["terms"] / tenant["chunks"]

        space_id = None if query_vector is None else await self._statistics.find_space(self._connection, space)
        vector = [] if space_id is None or query_vector is None else query_vector.astype(float).tolist()
        by_vector: dict[UUID, float] = {}
        if space_id is not None:
            by_vector = await scope.rank_by_vector(space_id, vector, tenant["chunks"])

        words = await self._analyze(tenant_id, query_text, tenant["languages"], tenant["chunks"])
        by_words = await scope.rank_by_words(words, mean_length) if words else []

        pool = list(dict.fromkeys([*by_words, *by_vector]))
        if not pool:
            return []
        word_scores = await scope.score_words(words, pool, mean_length) if words else {}
        similarities = dict(by_vector)
        if space_id is not None:
            unknown = [chunk for chunk in pool if chunk not in by_vector]
            similarities |= await scope.list_similarities(space_id, vector, unknown)
        fused = fuse(word_scores, similarities, list(by_vector.values()))
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
        return Readiness(row["queued"], row["processing"], row["ready"], row["failed"], int(row["chunks"]))

    async def list_chunks(self, tenant_id: TenantId, chunk_ids: Sequence[ChunkId]) -> Sequence[ScoredChunk]:
        """Live chunks by id, in the order asked, with score 0; ids that are gone are left out."""
        rows = [row async for row in _queries.list_chunks(self._connection, tenant_id=tenant_id, chunk_ids=chunk_ids)]
        found = {row["id"]: _unscored(row) for row in rows}
        return [found[chunk_id] for chunk_id in chunk_ids if chunk_id in found]

    async def _analyze(
        self, tenant_id: TenantId, text: str, languages: Sequence[str], chunks: int
    ) -> Sequence[QueryWord]:
        """The question's telling words, in the forms that the tenant's chunks would have them in."""
        text = text[:LONGEST_QUERY]
        if not text.strip():
            return []
        asked = sorted({*languages, "en"})
        rows = [
            row
            async for row in _queries.analyze_query(
                self._connection, languages=asked, search_keys=[fold_query(text, language) for language in asked]
            )
        ]
        by_position = _words_by_position(rows, set(languages))
        lexemes = sorted({lexeme for forms in by_position.values() for lexeme in forms})
        if not lexemes:
            return []
        counts = await self._statistics.count_words(self._connection, tenant_id, lexemes, chunks)
        words = []
        for position, forms in sorted(by_position.items()):
            count = min(sum(counts.get(form, 0) for form in forms), chunks)
            words.append(QueryWord(position, frozenset(forms), count, inverse_document_frequency(count, chunks)))
        if len(words) > MOST_WORDS:
            bound = sorted((word.weight for word in words), reverse=True)[MOST_WORDS - 1]
            words = [word for word in words if word.weight >= bound][:MOST_WORDS]
        return words


class _Scope:
    """The queries of one search: tenant, filters and how many candidates a leg gives."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        tenant_id: TenantId,
        document_ids: Sequence[DocumentId] | None,
        collection_id: CollectionId | None,
        row_limit: int,
    ) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._document_ids = document_ids
        self._collection_id = collection_id
        self._row_limit = row_limit

    async def rank_by_vector(self, space_id: int, query: list[float], chunks: int) -> dict[UUID, float]:
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
        elif chunks <= EXACT_SCAN_LIMIT:
            rows = [
                row
                async for row in _queries.rank_by_vector_exactly(
                    self._connection, tenant_id=self._tenant_id, space_id=space_id, **common
                )
            ]
        else:
            rows = [
                row
                async for row in _queries.rank_by_vector_index(
                    self._connection, space_id=space_id, dimension=len(query), **common
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
            "queries": [_as_tsquery(lexeme) for lexeme in weights],
            "weights": list(weights.values()),
            "mean_length": mean_length,
            "row_limit": self._row_limit,
        }
        if self._document_ids is not None:
            rows = _queries.rank_words_in_documents(self._connection, document_ids=self._document_ids, **arguments)
            return [row["chunk_id"] async for row in rows]
        scores: dict[UUID, float] = {}
        rare, common_words = _split_by_budget(distinct)
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
            candidate_limit=CANDIDATE_BUDGET,
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

    async def list_similarities(
        self, space_id: int, query: list[float], chunk_ids: Sequence[UUID]
    ) -> dict[UUID, float]:
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


_WITHOUT_STOP_WORDS = frozenset(
    ("ar", "da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "no", "nb", "pt", "ro", "ru", "sv", "tr")
)
"""Languages whose text search configuration leaves stop words out; the others' is `simple`."""


def _words_by_position(rows: Sequence[asyncpg.Record], present: set[str]) -> dict[int, set[str]]:
    """Forms of each word of the question, without stop words.

    The question's language is taken to be the one in which most of its words are stop words; its stop words count in no
    language, since to another language, or to `simple`, they would look like rare and telling words.
    """
    by_language: dict[str, dict[int, str]] = {}
    for row in rows:
        for position in row["positions"] or ():
            by_language.setdefault(row["language"], {})[position] = row["lexeme"]
    everywhere = {position for places in by_language.values() for position in places}
    stops = {
        judge: everywhere - by_language.get(judge, {}).keys() for judge in (present | {"en"}) & _WITHOUT_STOP_WORDS
    }
    most = max(map(len, stops.values()))
    stopped = {position for positions in stops.values() if len(positions) == most for position in positions}
    if stopped == everywhere:
        stopped = set()
    words: dict[int, set[str]] = {}
    for language in present:
        for position, lexeme in by_language.get(language, {}).items():
            if position not in stopped:
                words.setdefault(position, set()).add(lexeme)
    return words


def _split_by_budget(words: Sequence[QueryWord]) -> tuple[list[QueryWord], list[QueryWord]]:
    """(words that can be looked up one and all within the budget, the rest), each rarest first."""
    rarest = sorted(words, key=lambda word: word.chunk_count)
    spent = 0
    for number, word in enumerate(rarest):
        spent += word.chunk_count
        if spent > CANDIDATE_BUDGET:
            return rarest[:number], rarest[number:]
    return rarest, []


def _as_tsquery(lexeme: str) -> str:
    """A lexeme as a tsquery literal of one word."""
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"


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
