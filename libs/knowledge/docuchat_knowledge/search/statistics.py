"""What a process remembers between searches: ids of spaces, and how many chunks have a word."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta

import asyncpg

from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId
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


class SearchStatistics:
    """What one process remembers between queries: ids of spaces and how many chunks have a word.

    One instance per process, shared by all its `Searcher`s; not tied to a connection. Only numbers are kept, never
    rows, and
    a number lives for `ttl` and while the tenant keeps its size within 2 %.
    """

    def __init__(
        self, bounds: SearchBounds = _USUAL_BOUNDS, ttl: timedelta = timedelta(minutes=5), capacity: int = 100_000
    ) -> None:
        self.bounds = bounds
        self._ttl = ttl.total_seconds()
        self._capacity = capacity
        self._spaces: dict[EmbeddingSpace, tuple[StoredSpace, float]] = {}
        self._counts: OrderedDict[tuple[TenantId, str], tuple[int, int, float]] = OrderedDict()

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
        self, connection: asyncpg.Connection, tenant_id: TenantId, lexemes: Sequence[str], chunks: int
    ) -> dict[str, int]:
        """How many of the tenant's `chunks` have each lexeme: exact up to the bounds' cap, estimated beyond."""
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
        if chunks > self.bounds.count_cap:
            # common words first, from a sample: counting them by the index would read their long posting lists
            rows = _queries.count_terms_in_sample(
                connection,
                tenant_id=tenant_id,
                lexemes=lexemes,
                queries=[as_tsquery(lexeme) for lexeme in lexemes],
                sample_size=SAMPLE_SIZE,
            )
            async for row in rows:
                if row["chunk_count"] >= COMMON_IN_SAMPLE:
                    counts[row["lexeme"]] = round(row["chunk_count"] * chunks / row["sample_size"])
        rare = [lexeme for lexeme in lexemes if lexeme not in counts]
        if rare:
            async for row in _queries.count_terms(connection, lexemes=rare, cap=self.bounds.count_cap):
                counts[row["lexeme"]] = row["chunk_count"]
        return counts
