"""Two pools a service: its own weak role for work inside a tenant, its system role for relay and sweeps."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import cast

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from docuchat_common.errors import StorageFull, TenantGone, UpstreamUnavailable

logger = structlog.get_logger()

# what a broken, stopping or starting server looks like from here
CONNECTION_ERRORS: tuple[type[BaseException], ...] = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server went in the midst of a message: the connection is of no use any more
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)

_ROLE_POWER = """
SELECT current_user AS role,
       r.rolsuper AS is_superuser,
       r.rolbypassrls AS bypasses_rls,
       r.rolcreaterole AS creates_roles,
       EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
                 AND pg_has_role(current_user, c.relowner, 'MEMBER')) AS owns_tables,
       EXISTS (SELECT FROM pg_roles powerful
               WHERE (powerful.rolsuper OR powerful.rolbypassrls)
                 AND pg_has_role(current_user, powerful.oid, 'MEMBER')) AS can_become_powerful
FROM pg_roles r WHERE r.rolname = current_user
"""


class Deadlocked(UpstreamUnavailable):
    """Requests got in each other's way; nothing of this one happened, try again."""

    code = "deadlocked"


class RoleTooPowerful(RuntimeError):
    """The database role could step around row-level security, so the service refuses to start."""


async def assert_role_is_weak(connection: asyncpg.Connection) -> None:
    """Raise RoleTooPowerful unless row-level security binds the connection's role."""
    row = await connection.fetchrow(_ROLE_POWER)
    if row is None:
        raise RoleTooPowerful("what the database role may do cannot be seen")
    powers = [name for name in row.keys() if name != "role" and row[name]]  # noqa: SIM118 - a Record iterates values
    if powers:
        raise RoleTooPowerful(
            f"database role {row['role']!r} could bypass row-level security ({', '.join(powers)}); "
            "give the service the login of its own weak role (see `ensure_roles`), never the owner's"
        )


def is_broken(error: BaseException) -> bool:
    """Whether the connection that raised `error` may be in the midst of something, so that every later use would fail.

    asyncpg tells that by any of `CONNECTION_ERRORS`, and also by a cancellation that nobody asked for; an OSError that
    did not come through asyncpg is the caller's own.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and not task.cancelling()
    if isinstance(error, OSError):
        frames = traceback.walk_tb(error.__traceback__)
        return any(frame.f_globals.get("__name__", "").startswith("asyncpg.") for frame, _ in frames)
    return isinstance(error, CONNECTION_ERRORS)


async def _keep(_: asyncpg.Connection | PoolConnectionProxy) -> None:
    """Every setting is made inside a transaction, so a connection goes back to the pool as it came."""


class Database:
    """The pools of one service."""

    def __init__(self, tenant_pool: asyncpg.Pool, system_pool: asyncpg.Pool, acquire_timeout: timedelta) -> None:
        self._tenant_pool = tenant_pool
        self._system_pool = system_pool
        self._acquire_timeout = acquire_timeout.total_seconds()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        system_url: str,
        *,
        application_name: str,
        max_size: int = 10,
        init: Callable[[asyncpg.Connection], Awaitable[None]] | None = None,
        acquire_timeout: timedelta = timedelta(seconds=2),
        start_timeout: timedelta = timedelta(seconds=60),
        command_timeout: timedelta = timedelta(seconds=8),
    ) -> AsyncIterator["Database"]:
        """Connect both roles, waiting up to `start_timeout` for the server; refuse roles that could bypass security.

        `init` runs on every new connection (type codecs). A statement that has no answer after `command_timeout` is
        given up, and with it its transaction, so that a frozen server does not hold every request.
        """

        async def prepare(connection: asyncpg.Connection | PoolConnectionProxy) -> None:
            if init is not None:
                await init(cast(asyncpg.Connection, connection))

        async def connect(dsn: str, size: int) -> asyncpg.Pool:
            return await asyncpg.create_pool(
                dsn,
                min_size=1,
                max_size=size,
                init=prepare,
                reset=_keep,
                timeout=5,
                command_timeout=command_timeout.total_seconds(),
                max_inactive_connection_lifetime=300,
                server_settings={"application_name": application_name, "jit": "off"},
            )

        async def connect_patiently(dsn: str, size: int) -> asyncpg.Pool:
            deadline = asyncio.get_running_loop().time() + start_timeout.total_seconds()
            while True:
                try:
                    return await connect(dsn, size)
                except CONNECTION_ERRORS as error:
                    if asyncio.get_running_loop().time() >= deadline:
                        raise
                    logger.warning("database.waiting", error=type(error).__name__)
                    await asyncio.sleep(0.5)

        tenant_pool = await connect_patiently(url, max_size)
        try:
            system_pool = await connect_patiently(system_url, 4)
            try:
                for pool in (tenant_pool, system_pool):
                    async with pool.acquire() as connection:
                        await assert_role_is_weak(cast(asyncpg.Connection, connection))
                yield cls(tenant_pool, system_pool, acquire_timeout)
            finally:
                await _close(system_pool)
        finally:
            await _close(tenant_pool)

    @asynccontextmanager
    async def connection(self, *, system: bool = False) -> AsyncIterator[asyncpg.Connection]:
        """One pooled connection; a server that is away, stopping or full is UpstreamUnavailable."""
        pool = self._system_pool if system else self._tenant_pool
        try:
            async with pool.acquire(timeout=self._acquire_timeout) as connection:
                try:
                    # the pool's proxy has every method of a connection
                    yield cast(asyncpg.Connection, connection)
                except BaseException as error:
                    if is_broken(error):
                        connection.terminate()
                    raise
        except (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError) as error:
            raise Deadlocked(retry_after=timedelta(seconds=1)) from error
        except asyncpg.DiskFullError as error:
            raise StorageFull from error
        except BaseException as error:
            if getattr(error, "sqlstate", None) == TenantGone.sqlstate:
                raise TenantGone from error
            if not is_broken(error):
                raise
            raise UpstreamUnavailable(
                "The database does not answer; try again shortly.", retry_after=timedelta(seconds=2)
            ) from error

    async def check(self) -> None:
        """Raise UpstreamUnavailable when a trivial query fails (readiness)."""
        async with self.connection() as connection:
            await connection.execute("SELECT 1", timeout=2)


async def _close(pool: asyncpg.Pool) -> None:
    try:
        await asyncio.wait_for(pool.close(), timeout=3)
    except CONNECTION_ERRORS:
        pool.terminate()
