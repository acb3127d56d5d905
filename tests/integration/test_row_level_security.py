"""The database alone keeps tenants apart: raw SQL without a filter, as each service's own role (S2)."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from docuchat_setup.roles import OWNER, SERVICES, app_role
from docuchat_testkit.databases import ROLE_PASSWORD, with_database
from docuchat_testkit.product import Product, small_pdf

_TRANSACTIONS = 5000
_TABLES = """
SELECT c.oid::regclass::text AS name,
       CASE WHEN c.oid = 'auth.tenants'::regclass THEN 'id' ELSE 'tenant_id' END AS tenant_column,
       c.relrowsecurity AND c.relforcerowsecurity AS forced
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('auth', 'knowledge', 'chat', 'usage')
  AND (c.oid = 'auth.tenants'::regclass
       OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id'))
ORDER BY 1
"""


@pytest.fixture
async def two_tenants(product: Product) -> tuple[int, int]:
    """Two tenants with rows in the tables of every service."""
    tenants = []
    for _ in range(2):
        async with product.user(await product.new_tenant()) as user:
            await user.ready(small_pdf(("The picnic is on Sunday.",)))
            frames = await user.ask("When is the picnic?")
            assert frames[-1]["type"] == "end"
            body = {"message": "When?"}
            assert (await user.http.post("/v1/chat", json=body, headers={"Idempotency-Key": "k"})).status_code == 200
            tenants.append(user.tenant_id)
    return tenants[0], tenants[1]


@pytest.fixture
async def administrator(product: Product) -> AsyncIterator[asyncpg.Connection[Any]]:
    async with product.database() as connection:
        yield connection


async def quoted(administrator: asyncpg.Connection[Any], template: str, *names: str) -> str:
    """A statement with names in it, quoted by the server."""
    schema_and_table = [name.split(".") for name in names]
    parts = [part for name in schema_and_table for part in name]
    return str(await administrator.fetchval("SELECT format($1::text, VARIADIC $2::text[])", template, parts))


async def test_every_table_with_a_tenant_is_forced_under_row_level_security(
    administrator: asyncpg.Connection[Any],
) -> None:
    tables = await administrator.fetch(_TABLES)
    assert len(tables) >= 14
    assert [table["name"] for table in tables if not table["forced"]] == []


async def test_thousands_of_unfiltered_transactions_see_their_own_tenant_alone(
    product: Product, administrator: asyncpg.Connection[Any], two_tenants: tuple[int, int]
) -> None:
    readable: dict[str, list[str]] = {}
    seen: set[tuple[str, str]] = set()
    tables = await administrator.fetch(_TABLES)
    for service in SERVICES:
        for table in tables:
            column = table["tenant_column"]
            if await administrator.fetchval(
                "SELECT has_schema_privilege($1::text, split_part($2::text, '.', 1), 'USAGE')"
                " AND has_column_privilege($1::text, $2::text, $3::text, 'SELECT')",
                app_role(service),
                table["name"],
                column,
            ):
                statement = await quoted(
                    administrator, "SELECT DISTINCT %I AS tenant FROM %I.%I", column, table["name"]
                )
                readable.setdefault(service, []).append(statement)
    assert set(readable) >= {"auth", "gateway", "ingest", "chat", "usage"}
    pools = {
        service: await asyncpg.create_pool(product.role_url(service), min_size=1, max_size=2) for service in readable
    }
    chance = random.Random(7)
    work = [
        (service, statement, tenant)
        for service, statements in readable.items()
        for statement in statements
        for tenant in (None, *two_tenants, -1)
    ]
    work += [
        (
            service := chance.choice(list(readable)),
            chance.choice(readable[service]),
            chance.choice((None, *two_tenants)),
        )
        for _ in range(_TRANSACTIONS - len(work))
    ]
    chance.shuffle(work)
    queue = iter(work)

    async def run() -> None:
        for service, statement, tenant in queue:
            async with pools[service].acquire() as connection, connection.transaction():
                if tenant is not None:
                    await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(tenant))
                found = {row["tenant"] for row in await connection.fetch(statement)}
            if "chat.providers" in statement:
                found.discard(None)  # the platform's, which all tenants see
            assert found <= ({tenant} if tenant is not None else set()), (service, statement, tenant, found)
            if found:
                seen.add((service, statement))

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(8):
                tasks.create_task(run())
    finally:
        for pool in pools.values():
            await pool.close()
    # the tables that these tenants certainly have rows in were really looked at
    filled = {(service, statement.rpartition(" ")[2]) for service, statement in seen}
    assert filled >= {
        ("auth", "auth.tenants"),
        ("auth", "auth.users"),
        ("gateway", "knowledge.documents"),
        ("ingest", "knowledge.chunks"),
        ("chat", "knowledge.chunk_vectors"),
        ("chat", "chat.messages"),
        ("chat", "chat.turns"),
        ("usage", "usage.ledger"),
        ("usage", "usage.holds"),
    }, filled


async def test_no_role_changes_or_adds_rows_of_another_tenant(
    product: Product, administrator: asyncpg.Connection[Any], two_tenants: tuple[int, int]
) -> None:
    mine, other = two_tenants
    deleted = 0
    for service in SERVICES:
        connection = await asyncpg.connect(product.role_url(service))
        try:
            for table in await administrator.fetch(_TABLES):
                name, column = table["name"], table["tenant_column"]
                allowed = await administrator.fetchval(
                    "SELECT CASE WHEN has_schema_privilege($1::text, split_part($2::text, '.', 1), 'USAGE')"
                    " THEN array_remove(ARRAY["
                    " CASE WHEN has_table_privilege($1::text, $2::text, 'DELETE') THEN 'DELETE' END,"
                    " CASE WHEN has_table_privilege($1::text, $2::text, 'UPDATE') THEN 'UPDATE' END], NULL)"
                    " ELSE '{}' END",
                    app_role(service),
                    name,
                )
                own = await administrator.fetchval(
                    await quoted(administrator, "SELECT count(*) FROM %I.%I WHERE %I = $1", name, column), mine
                )
                templates = {
                    "DELETE": ("DELETE FROM %I.%I", name),
                    "UPDATE": ("UPDATE %I.%I SET %I = %s", name, column),
                }
                for action in allowed:
                    template, *names = templates[action]
                    statement = await quoted(administrator, template, *names, *([str(other)] * (action == "UPDATE")))
                    transaction = connection.transaction()
                    await transaction.start()
                    try:
                        await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(mine))
                        done = await connection.execute(statement)
                        assert action == "DELETE" or done == "UPDATE 0", (service, statement, done)
                        assert int(done.split()[1]) <= own, (service, statement, done)
                        deleted += int(done.split()[1])
                    except (
                        asyncpg.InsufficientPrivilegeError,
                        asyncpg.ForeignKeyViolationError,
                        asyncpg.CheckViolationError,
                    ):
                        pass  # refused by the policy's check, or for a row that refers to it
                    finally:
                        await transaction.rollback()
            if service in {"auth", "gateway", "ingest", "chat", "usage"}:
                schema = {"gateway": "knowledge", "ingest": "knowledge"}.get(service, service)
                insert = await quoted(
                    administrator,
                    "INSERT INTO %I.%I (event_id, type, tenant_id, body) VALUES (gen_random_uuid(), 'x', $1, '')",
                    f"{schema}.outbox",
                )
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                    async with connection.transaction():
                        await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(mine))
                        await connection.execute(insert, other)
        finally:
            await connection.close()
    assert deleted > 0


async def start(product: Product, service: str, **changes: str) -> tuple[int | None, str]:
    """Exit code and output of a service's process in a changed environment."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"docuchat_{service}",
        env=product.running.env_for(service) | {"PORT": "0"} | changes,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 40)
    except TimeoutError:
        process.kill()
        output, _ = await process.communicate()
        return None, output.decode()
    return process.returncode, output.decode()


async def test_a_service_whose_role_could_bypass_row_level_security_refuses_to_start(
    product: Product, administrator: asyncpg.Connection[Any]
) -> None:
    database = await administrator.fetchval("SELECT current_database()")
    owner = with_database(product.admin_url, database, OWNER)
    bypassing = with_database(product.admin_url, database, "docuchat_test_bypass")
    await administrator.execute(
        await administrator.fetchval(
            "SELECT format('CREATE ROLE docuchat_test_bypass LOGIN BYPASSRLS PASSWORD %L', $1::text)", ROLE_PASSWORD
        )
    )
    try:
        cases = {
            "auth": ({"DATABASE_URL": product.admin_url}, "is_superuser"),
            "gateway": ({"DATABASE_URL": owner}, "owns_tables"),
            "chat": ({"DATABASE_URL": bypassing}, "bypasses_rls"),
            "usage": ({"SYSTEM_DATABASE_URL": product.admin_url}, "is_superuser"),
            "ingest": ({"SYSTEM_DATABASE_URL": bypassing}, "bypasses_rls"),
        }
        for service, (changes, power) in cases.items():
            code, output = await start(product, service, **changes)
            assert code not in (0, None), f"{service} started with a role that {power}: {output}"
            assert "could bypass row-level security" in output, output
            assert power in output
            assert ROLE_PASSWORD not in output
    finally:
        await administrator.execute("DROP ROLE docuchat_test_bypass")
