"""The roles and the unit of work: row-level security binds every service, and a role it would not bind is refused."""

import asyncio
import re
from datetime import timedelta
from typing import cast
from urllib.parse import urlsplit

import asyncpg
import pytest

from docuchat_common.background import cancel
from docuchat_common.db import Database, Deadlocked, RoleTooPowerful
from docuchat_common.db.transactions import transaction
from docuchat_common.db.uow import UnitOfWork
from docuchat_common.errors import StorageFull, UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.ids import TenantId, uuid7
from docuchat_setup.roles import OWNER, SERVICES
from docuchat_testkit.databases import ClonedDatabase, with_database
from docuchat_testkit.eventually import eventually


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_role_is_weak_enough_to_start(database: ClonedDatabase, service: str) -> None:
    async with database.open(service) as opened:
        await opened.check()


@pytest.mark.parametrize("role", ["administrator", OWNER, "bypassing"])
async def test_a_service_refuses_to_start_with_a_role_that_could_bypass_row_level_security(
    database: ClonedDatabase, role: str
) -> None:
    url = {"administrator": database.admin_url, OWNER: database.owner_url, "bypassing": database.url("chat")}[role]
    if role == "administrator":
        url = with_database(database.admin_url, database.name)
    async with database.connect() as connection:
        if role == "bypassing":
            await connection.execute("ALTER ROLE docuchat_chat BYPASSRLS")
        try:
            with pytest.raises(RoleTooPowerful, match="could bypass row-level security"):
                async with Database.open(url, database.system_url("chat"), application_name="test"):
                    pass
        finally:
            await connection.execute("ALTER ROLE docuchat_chat NOBYPASSRLS")


async def test_every_table_with_a_tenant_forces_row_level_security(database: ClonedDatabase) -> None:
    async with database.connect() as connection:
        rows = await connection.fetch(
            """
            SELECT c.oid::regclass::text AS name FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
            WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('auth', 'knowledge', 'chat', 'usage')
              AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
            """
        )
    assert [row["name"] for row in rows] == []


async def test_a_statement_without_an_answer_is_given_up_in_time_with_its_connection(database: ClonedDatabase) -> None:
    async with Database.open(
        database.url("chat"),
        database.system_url("chat"),
        application_name="test",
        command_timeout=timedelta(seconds=2),
    ) as opened:
        uow = UnitOfWork(opened, lambda connection, _, __: connection, schema="chat")
        began = asyncio.get_running_loop().time()
        with pytest.raises(UpstreamUnavailable):
            async with uow(TenantId(1)) as connection:
                await connection.execute("SELECT pg_sleep(30)")
        assert asyncio.get_running_loop().time() - began < 10
        async with uow(TenantId(2)) as connection:
            assert await connection.fetchval("SELECT current_setting('app.tenant_id')") == "2"


async def test_a_server_that_fell_silent_is_told_to_all_who_begin_long_before_a_statement_is_given_up(
    database: ClonedDatabase,
) -> None:
    parts = urlsplit(database.url("chat"))
    thawed, ways = asyncio.Event(), set[asyncio.Task[None]]()
    thawed.set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await thawed.wait()
                writer.write(data)
        finally:
            writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection(parts.hostname, parts.port)
        ways.update({asyncio.create_task(carry(reader, downstream)), asyncio.create_task(carry(upstream, writer))})

    async def begin(uow: UnitOfWork[asyncpg.Connection]) -> type[BaseException] | None:
        try:
            async with uow(TenantId(1)) as connection:
                await connection.execute("SELECT 1")
        except UpstreamUnavailable as error:
            return type(error)
        return None

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        host, port = proxy.sockets[0].getsockname()
        urls = [
            re.sub(r"@[^/]+/", f"@{host}:{port}/", url) for url in (database.url("chat"), database.system_url("chat"))
        ]
        async with Database.open(
            *urls, application_name="test", max_size=3, command_timeout=timedelta(minutes=5)
        ) as opened:
            uow = UnitOfWork(opened, lambda connection, _, __: connection, schema="chat")
            assert await begin(uow) is None
            thawed.clear()
            began = asyncio.get_running_loop().time()
            assert set(await asyncio.gather(*(begin(uow) for _ in range(6)))) == {UpstreamUnavailable}
            assert asyncio.get_running_loop().time() - began < 60
            thawed.set()
            assert await begin(uow) is None
    await asyncio.gather(*(cancel(way) for way in ways))


async def test_a_database_without_room_says_so(database: ClonedDatabase) -> None:
    async with database.open("chat") as opened:
        with pytest.raises(StorageFull):
            async with opened.connection() as connection:
                await connection.execute("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100'; END $$")


async def test_a_connection_goes_back_to_the_pool_without_the_tenant_it_worked_for(database: ClonedDatabase) -> None:
    """A tenant set for the session would be the next user's, whatever he forgot to set."""
    async with database.open("chat", max_size=1) as opened:
        uow = UnitOfWork(opened, lambda connection, _, __: connection, schema="chat")
        async with uow(TenantId(7)) as connection:
            backend = await connection.fetchval("SELECT pg_backend_pid()")
            assert await connection.fetchval("SELECT current_setting('app.tenant_id')") == "7"
        async with opened.connection() as connection:
            assert await connection.fetchval("SELECT pg_backend_pid()") == backend
            assert await connection.fetchval("SELECT nullif(current_setting('app.tenant_id', true), '')") is None


async def test_the_server_is_told_to_notice_a_client_whose_host_is_gone(database: ClonedDatabase) -> None:
    settings = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
    async with database.open("chat") as opened:
        for system in (False, True):
            async with opened.connection(system=system) as connection:
                rows = await connection.fetch(
                    "SELECT name, setting::int FROM pg_settings WHERE name = ANY($1::text[])", settings
                )
                values = {row["name"]: row["setting"] for row in rows}
                assert 0 < values["tcp_user_timeout"] <= 20_000
                assert 0 < values["tcp_keepalives_idle"] <= 10
                keepalive = values["tcp_keepalives_interval"] * values["tcp_keepalives_count"]
                assert 0 < keepalive <= 20
                assert await connection.fetchval("SHOW client_connection_check_interval") == "5s"


async def test_a_lock_that_is_held_for_too_long_is_told_to_be_tried_again(database: ClonedDatabase) -> None:
    async with database.open("chat") as opened, opened.connection() as holder, holder.transaction():
        await holder.execute("SELECT pg_advisory_xact_lock(1)")
        with pytest.raises(Deadlocked):
            async with opened.connection() as waiter, waiter.transaction():
                await waiter.execute("SET LOCAL lock_timeout = '20ms'")
                await waiter.execute("SELECT pg_advisory_xact_lock(1)")


async def test_a_transaction_that_was_ended_for_being_idle_is_told_to_be_tried_again(database: ClonedDatabase) -> None:
    async with database.open("chat") as opened:
        uow = UnitOfWork(opened, lambda connection, _, __: connection, schema="chat")
        with pytest.raises(UpstreamUnavailable):
            async with uow(TenantId(1)) as connection:
                await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '20ms'")
                backend = await connection.fetchval("SELECT pg_backend_pid()")
                async with database.connect() as administrator:

                    async def ended() -> bool:
                        running = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)"
                        return not await administrator.fetchval(running, backend)

                    await eventually(ended)
                await connection.execute("SELECT 1")
        async with uow(TenantId(1)) as connection:
            assert await connection.fetchval("SELECT 1") == 1


class FrozenSession:
    """A session whose server begins a transaction, and never answers again."""

    is_ended = False

    async def execute(self, statement: str, *, timeout: float | None = None) -> str:
        if statement == "ROLLBACK":
            raise TimeoutError
        return statement

    def is_closed(self) -> bool:
        return self.is_ended

    def terminate(self) -> None:
        self.is_ended = True


async def test_a_cancelled_transaction_is_told_as_cancelled_when_its_rollback_has_no_answer() -> None:
    session = FrozenSession()
    is_inside = asyncio.Event()

    async def work() -> None:
        async with transaction(cast(asyncpg.Connection, session)):
            is_inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await is_inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert session.is_ended


async def test_a_callers_transaction_has_its_subject_role_and_groups(database: ClonedDatabase) -> None:
    group, subject = uuid7(), uuid7()
    settings = "SELECT current_setting('app.' || name, true) FROM unnest($1::text[]) AS name"
    async with database.open("chat") as opened:
        uow = UnitOfWork(opened, lambda connection, _, __: connection, schema="chat")
        for caller, role, groups in (
            (Caller(TenantId(7), "user", subject, role="member", groups=frozenset([group])), "member", f"{{{group}}}"),
            (Caller(TenantId(7), "visitor", subject), "none", "{}"),
        ):
            async with uow.as_caller(caller) as connection:
                rows = await connection.fetch(settings, ["tenant_id", "user_id", "role", "groups"])
                assert [row[0] for row in rows] == ["7", str(subject), role, groups]
        async with uow(TenantId(7)) as connection:
            rows = await connection.fetch(settings, ["tenant_id", "user_id", "role", "groups"])
            assert [row[0] for row in rows] == ["7", "", "", ""]


@pytest.mark.parametrize("trouble", [FileNotFoundError("a file of the caller's"), TimeoutError("of the caller's")])
async def test_an_error_of_the_callers_own_is_not_taken_for_the_databases(
    database: ClonedDatabase, trouble: OSError
) -> None:
    async with Database.open(
        database.url("auth"), database.system_url("auth"), application_name="own", max_size=1
    ) as opened:
        uow = UnitOfWork(opened, lambda connection, _, __: connection, schema="auth")
        with pytest.raises(type(trouble)):
            async with uow(TenantId(1)) as connection:
                backend = await connection.fetchval("SELECT pg_backend_pid()")
                raise trouble
        async with uow(TenantId(1)) as connection:
            assert await connection.fetchval("SELECT pg_backend_pid()") == backend


@pytest.mark.parametrize("is_system", [False, True])
@pytest.mark.parametrize(
    "trouble",
    [
        asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"),
        asyncio.CancelledError(),  # as asyncpg says it, with nobody who cancelled the task
    ],
    ids=lambda trouble: type(trouble).__name__,
)
async def test_a_connection_that_broke_is_told_as_unavailable_and_leaves_the_pool(
    database: ClonedDatabase, trouble: BaseException, is_system: bool
) -> None:
    async with Database.open(
        database.url("auth"), database.system_url("auth"), application_name="broken", max_size=1
    ) as opened:
        unit: UnitOfWork[asyncpg.Connection] = UnitOfWork(opened, lambda connection, *_: connection, schema="auth")
        broken = 0
        with pytest.raises(UpstreamUnavailable):
            async with unit.system() if is_system else unit(TenantId(1)) as connection:
                broken = await connection.fetchval("SELECT pg_backend_pid()")
                raise trouble
        async with unit.system() if is_system else unit(TenantId(1)) as connection:
            assert await connection.fetchval("SELECT pg_backend_pid()") != broken
