"""Named SQL: `queries.sql` beside a module, loaded by aiosql; a block's name is the repository method's name."""

from collections.abc import AsyncIterator, Sequence
from importlib.resources import as_file, files
from typing import Any

import aiosql
import asyncpg
from aiosql.adapters.asyncpg import AsyncPGAdapter


class _OnConnection(AsyncPGAdapter):
    """Runs on the connection that it is given.

    aiosql's own adapter also takes pools, and lists the attributes of its argument before each statement to tell which
    it is: 40 µs, as much as a statement's way to the server and back.
    """

    def _in_order(self, query_name: str, parameters: Any) -> Sequence[Any]:
        """Named parameters in the order in which the statement numbers them."""
        if not isinstance(parameters, dict):
            return tuple(parameters)
        return [parameters[name] for name in self.var_sorted[query_name]]

    async def select(
        self, conn: asyncpg.Connection, query_name: str, sql: str, parameters: Any, record_class: None = None
    ) -> AsyncIterator[asyncpg.Record]:
        for record in await conn.fetch(sql, *self._in_order(query_name, parameters)):
            yield record

    async def select_one(
        self, conn: asyncpg.Connection, query_name: str, sql: str, parameters: Any, record_class: None = None
    ) -> asyncpg.Record | None:
        return await conn.fetchrow(sql, *self._in_order(query_name, parameters))

    async def select_value(self, conn: asyncpg.Connection, query_name: str, sql: str, parameters: Any) -> Any:
        return await conn.fetchval(sql, *self._in_order(query_name, parameters))

    async def insert_update_delete(self, conn: asyncpg.Connection, query_name: str, sql: str, parameters: Any) -> str:
        return await conn.execute(sql, *self._in_order(query_name, parameters))


async def in_batches(
    queries: Any, name: str, connection: asyncpg.Connection, size: int, **parameters: Any
) -> AsyncIterator[list[asyncpg.Record]]:
    """The rows of a named query, read by a cursor, so many at a time; inside a transaction."""
    values = [parameters[parameter] for parameter in queries.driver_adapter.var_sorted[name]]
    await connection.execute(f"DECLARE in_batches NO SCROLL CURSOR FOR {getattr(queries, name).sql}", *values)
    while rows := await connection.fetch(f"FETCH {int(size)} FROM in_batches"):
        yield rows
    await connection.execute("CLOSE in_batches")


def load_queries(package: str, filename: str = "queries.sql") -> Any:
    """The queries of `package`'s SQL file as async functions of (connection, *, named parameters).

    Typed `Any` because aiosql makes the functions at run time; repositories give them their types.
    """
    driver: Any = _OnConnection
    with as_file(files(package).joinpath(filename)) as path:
        return aiosql.from_path(path, driver, mandatory_parameters=False)
