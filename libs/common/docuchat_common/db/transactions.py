"""A transaction of one connection, inside a tenant or not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from docuchat_common.db.pool import CONNECTION_ERRORS, is_broken
from docuchat_common.ids import TenantId

_IN_TENANT: Final = "; SELECT set_config('app.tenant_id', '@tenant@', true)"
# a server that lives begins at once: one that does not is told before the patience of a long statement is over
_BEGIN_SECONDS: Final = 2
_ROLLBACK_SECONDS: Final = 1


@asynccontextmanager
async def transaction(connection: asyncpg.Connection, tenant_id: TenantId | None = None) -> AsyncIterator[None]:
    """Commit on leaving, roll back on an exception; begun in one round trip, also inside a tenant.

    asyncpg does not know of it, so none of asyncpg's nests in it.
    """
    inside = "" if tenant_id is None else _IN_TENANT.replace("@tenant@", str(int(tenant_id)))
    try:
        await connection.execute("BEGIN" + inside, timeout=_BEGIN_SECONDS)
        yield
    except BaseException as error:
        # a server that does not answer does not answer a ROLLBACK either: the connection is ended, and it notices
        if not is_broken(error) and not connection.is_closed():
            await _roll_back(connection)
        raise
    if await connection.execute("COMMIT") != "COMMIT":
        # Postgres answers ROLLBACK, and no error, when an earlier statement failed and its error was swallowed
        raise RuntimeError("the transaction was rolled back: a statement in it had failed unnoticed")


async def _roll_back(connection: asyncpg.Connection) -> None:
    """Roll back, or end the connection when that is not answered soon: nothing may hide why the transaction ended."""
    try:
        await connection.execute("ROLLBACK", timeout=_ROLLBACK_SECONDS)
    except CONNECTION_ERRORS:
        connection.terminate()
