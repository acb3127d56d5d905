"""Embedding spaces: made by the one-shot migration job, since a partial index takes an owner."""

from __future__ import annotations

import asyncpg

from docuchat_common.db import load_queries
from docuchat_common.db.turns import in_turn
from docuchat_knowledge.spaces.domain import StoredSpace
from docuchat_models.spaces import EmbeddingSpace

_queries = load_queries(__package__)
_LOCK_KEY = 0x0D0C_59AC


async def ensure_space(
    connection: asyncpg.Connection, space: EmbeddingSpace, *, vector_weight: float | None = None
) -> int:
    """Make the space and its HNSW index unless they are there, and the space the present one; gives its id.

    `vector_weight` overrides what its model's cosines usually weigh in a search. Run as the owner, outside a
    transaction: the index is built concurrently, so that ingestion and search go on. Several jobs at once take turns.
    """
    async with in_turn(connection, _LOCK_KEY):
        await _queries.set_space(
            connection,
            provider=space.provider,
            model=space.model,
            dimension=space.dimension,
            query_prefix=space.prefixes.query,
            passage_prefix=space.prefixes.passage,
            vector_weight=space.usual_vector_weight if vector_weight is None else vector_weight,
        )
        stored = await find_space(connection, space)
        assert stored is not None  # made above
        await _queries.set_current(connection, space_id=stored.id)
        # DDL takes no parameters: format() on the server quotes what becomes part of the statement
        drop_broken = await _queries.write_drop_of_broken_index(connection, space_id=stored.id)
        if drop_broken is not None:
            await connection.execute(drop_broken)
        await connection.execute(
            await _queries.write_index(connection, space_id=stored.id, dimension=space.dimension), timeout=None
        )
        return stored.id


async def find_space(connection: asyncpg.Connection, space: EmbeddingSpace) -> StoredSpace | None:
    """The stored space; None while it is not set up."""
    row = await _queries.find_space(
        connection,
        provider=space.provider,
        model=space.model,
        dimension=space.dimension,
        query_prefix=space.prefixes.query,
        passage_prefix=space.prefixes.passage,
    )
    return None if row is None else StoredSpace(row["id"], row["vector_weight"])
