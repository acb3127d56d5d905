"""A transaction of one connection, inside a tenant or not, for one of its people or not."""

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final, Protocol
from uuid import UUID

import asyncpg

from docuchat_common.db.pool import CONNECTION_ERRORS, is_broken
from docuchat_common.ids import TenantId

_IN_TENANT: Final = "; SELECT set_config('app.tenant_id', '@tenant@', true)"
_FOR_READER: Final = (
    ", set_config('app.user_id', '@user@', true), set_config('app.role', '@role@', true)"
    ", set_config('app.groups', '{@groups@}', true)"
)
_NAMING: Final = ", set_config('app.collections', '{@collections@}', true)"
_SNAPSHOT: Final = " ISOLATION LEVEL REPEATABLE READ READ ONLY"
_ROLE: Final = re.compile(r"[a-z_]{1,32}")
_NO_ROLE: Final = "none"
# a server that lives begins at once: one that does not is told before the patience of a long statement is over
_BEGIN_SECONDS: Final = 2
_ROLLBACK_SECONDS: Final = 1


class Reader(Protocol):
    """Who a transaction is for: row-level security shows what this subject, in this role and these groups, may see."""

    @property
    def tenant_id(self) -> TenantId: ...

    @property
    def subject_id(self) -> UUID: ...

    @property
    def role(self) -> str | None: ...

    @property
    def groups(self) -> Iterable[UUID]: ...

    @property
    def collections(self) -> Iterable[UUID] | None:
        """The collections that are read, whoever asks, and none besides; None: those that the reader may read."""


@asynccontextmanager
async def transaction(
    connection: asyncpg.Connection,
    tenant_id: TenantId | None = None,
    reader: Reader | None = None,
    *,
    is_snapshot: bool = False,
) -> AsyncIterator[None]:
    """Commit on leaving, roll back on an exception; begun in one round trip, also inside a tenant and for a reader.

    All that is read in a snapshot is of one moment, and nothing is written. asyncpg does not know of the transaction,
    so none of asyncpg's nests in it.
    """
    inside = "" if tenant_id is None else _IN_TENANT.replace("@tenant@", str(int(tenant_id))) + _settings_of(reader)
    try:
        await connection.execute(("BEGIN" + _SNAPSHOT * is_snapshot) + inside, timeout=_BEGIN_SECONDS)
        yield
    except BaseException as error:
        # a server that does not answer does not answer a ROLLBACK either: the connection is ended, and it notices
        if not is_broken(error) and not connection.is_closed():
            await _roll_back(connection)
        raise
    if await connection.execute("COMMIT") != "COMMIT":
        # Postgres answers ROLLBACK, and no error, when an earlier statement failed and its error was swallowed
        raise RuntimeError("the transaction was rolled back: a statement in it had failed unnoticed")


@asynccontextmanager
async def naming(connection: asyncpg.Connection, collections: Iterable[UUID] | None) -> AsyncIterator[None]:
    """Read exactly these collections inside a transaction, as `Reader.collections` says; None changes nothing."""
    if collections is None:
        yield
        return
    name = "SELECT set_config('app.collections', $1, true)"
    before = await connection.fetchval("SELECT coalesce(current_setting('app.collections', true), '')")
    await connection.execute(name, "{" + _ids(collections) + "}")
    yield
    await connection.execute(name, before)  # a transaction that failed is rolled back, and its settings with it


def _settings_of(reader: Reader | None) -> str:
    """The settings that policies read; ids are ids and a role is a word, so that nothing can be slipped in."""
    if reader is None:
        return ""
    role = reader.role or _NO_ROLE
    if not _ROLE.fullmatch(role):
        raise ValueError(f"not the name of a role: {role!r}")
    settings = (
        _FOR_READER.replace("@user@", str(UUID(str(reader.subject_id))))
        .replace("@role@", role)
        .replace("@groups@", _ids(reader.groups))
    )
    return (
        settings
        if reader.collections is None
        else settings + _NAMING.replace("@collections@", _ids(reader.collections))
    )


def _ids(ids: Iterable[UUID]) -> str:
    return ",".join(str(UUID(str(one))) for one in ids)


async def _roll_back(connection: asyncpg.Connection) -> None:
    """Roll back, or end the connection when that is not answered soon: nothing may hide why the transaction ended."""
    try:
        await connection.execute("ROLLBACK", timeout=_ROLLBACK_SECONDS)
    except CONNECTION_ERRORS:
        connection.terminate()
