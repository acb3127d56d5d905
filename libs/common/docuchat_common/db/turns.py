"""Jobs that must not run at the same time take turns."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg


@asynccontextmanager
async def in_turn(connection: asyncpg.Connection, key: int) -> AsyncIterator[None]:
    """Hold off every other job of the same `key` meanwhile; leave no transaction open or failed on `connection`.

    By polling, because a blocking advisory lock would deadlock with CREATE INDEX CONCURRENTLY.
    """
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", key):  # noqa: ASYNC110 - the server tells
        await asyncio.sleep(0.2)
    try:
        yield
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", key)
