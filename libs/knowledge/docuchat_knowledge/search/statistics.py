"""What a process remembers between searches: ids of spaces, and how many chunks have a word."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from docuchat_common.db import load_queries
from docuchat_common.ids import CollectionId, TenantId
from docuchat_knowledge.search.domain import SearchBounds
from docuchat_knowledge.search.words import as_tsquery
from docuchat_knowledge.spaces.domain import StoredSpace
from docuchat_knowledge.spaces.repository import find_space
from docuchat_models.spaces import EmbeddingSpace

_queries = load_queries(__package__)
_USUAL_BOUNDS = SearchBounds()

SAMPLE_SIZE = 200
COMMON_IN_SAMPLE = 6
"""A word in so many chunks of the sample is estimated from it: 3 % of the tenant's chunks, give or take 1.2 %."""


@dataclass(frozen=True, slots=True)
class Searched:
    """The chunks that a question is searched in: the collections that its reader may see, or one of them."""

    tenant_id: TenantId
    collection_id: CollectionId | None
    name: str
    """The same for whoever searches the same collections: nobody is told by a count what only others may see."""
    chunks: int


class SearchStatistics:
    """What one process remembers between queries: ids of spaces and how many chunks have a word.

    One instance per process, shared by all its `Searcher`s; not tied to a connection. Only numbers are kept, never
    rows, and
    a number lives for `ttl` and while what is searched keeps its size within 2 %.
    """

    def __init__(
        self, bounds: SearchBounds = _USUAL_BOUNDS, ttl: timedelta = timedelta(minutes=5), capacity: int = 100_000
    ) -> None:
        self.bounds = bounds
        self._ttl = ttl.total_seconds()
        self._capacity = capacity
        self._spaces: dict[EmbeddingSpace, tuple[StoredSpace, float]] = {}
        self._counts: OrderedDict[tuple[str, str], tuple[int, int, float]] = OrderedDict()

    async def find_space(self, connection: asyncpg.Connection, space: EmbeddingSpace) -> StoredSpace | None:
        """The stored space; None while it is not set up."""
        known = self._spaces.get(space)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        stored = await find_space(connection, space)
        if stored is not None:
            self._spaces[space] = (stored, time.monotonic() + self._ttl)
        return stored

    async def count_words(
        self, connection: asyncpg.Connection, searched: Searched, lexemes: Sequence[str]
    ) -> dict[str, int]:
        """How many of the searched chunks have each lexeme: exact up to the bounds' cap, estimated beyond."""
        now, chunks = time.monotonic(), searched.chunks
        known: dict[str, int] = {}
        for lexeme in lexemes:
            entry = self._counts.get((searched.name, lexeme))
            if entry is not None and entry[2] > now and abs(entry[1] - chunks) * 50 <= chunks:
                known[lexeme] = entry[0]
        missing = [lexeme for lexeme in lexemes if lexeme not in known]
        if missing:
            counted = await self._count(connection, searched, missing)
            for lexeme, count in counted.items():
                self._counts[searched.name, lexeme] = (count, chunks, now + self._ttl)
            known.update(counted)
            while len(self._counts) > self._capacity:
                self._counts.popitem(last=False)
        return known

    async def _count(
        self, connection: asyncpg.Connection, searched: Searched, lexemes: Sequence[str]
    ) -> dict[str, int]:
        counts: dict[str, int] = {}
        if searched.chunks > self.bounds.count_cap:
            # common words first, from a sample: counting them by the index would read their long posting lists
            rows = _queries.count_terms_in_sample(
                connection,
                tenant_id=searched.tenant_id,
                collection_id=searched.collection_id,
                chunks=searched.chunks,
                lexemes=lexemes,
                queries=[as_tsquery(lexeme) for lexeme in lexemes],
                sample_size=SAMPLE_SIZE,
            )
            async for row in rows:
                if row["chunk_count"] >= COMMON_IN_SAMPLE:
                    counts[row["lexeme"]] = round(row["chunk_count"] * searched.chunks / row["sample_size"])
        rare = [lexeme for lexeme in lexemes if lexeme not in counts]
        if rare:
            async for row in _queries.count_terms(
                connection, lexemes=rare, cap=self.bounds.count_cap, collection_id=searched.collection_id
            ):
                counts[row["lexeme"]] = row["chunk_count"]
        return counts
