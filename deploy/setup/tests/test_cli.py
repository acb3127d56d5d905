"""`python -m docuchat_setup`: from an empty server to one that the services can start on, as often as one likes."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import aio_pika
import asyncpg
import pytest
from typer.testing import CliRunner

from docuchat_common.contracts.operator_keys import parse_operator_key
from docuchat_common.messaging.topology import SERVICES, USAGE_STREAM, queues_of
from docuchat_setup.cli import app
from docuchat_setup.roles import OWNER, SESSION_SETTINGS, app_role, role_names
from docuchat_testkit.broker import TestBroker
from docuchat_testkit.databases import ROLE_PASSWORD, run_blocking, with_database
from docuchat_testkit.eventually import eventually
from docuchat_testkit.identity import SERVICE_PASSWORD
from docuchat_testkit.servers import TestServers


@pytest.fixture
def environment(servers: TestServers, rabbitmq: TestBroker, migrated_template: str) -> Iterator[dict[str, str]]:
    """An empty database and an empty virtual host; the template was made first, so that roles are not made at once."""
    name = f"docuchat_setup_{uuid.uuid4().hex[:10]}"
    run_blocking(execute(servers.postgres_url, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"))
    admin = with_database(servers.postgres_url, name)
    passwords = {f"{service.upper()}{kind}_DATABASE_PASSWORD" for service in SERVICES for kind in ("", "_SYSTEM")}
    yield {
        "ADMIN_DATABASE_URL": admin.replace("postgresql://", "postgresql+asyncpg://"),
        "OWNER_DATABASE_URL": with_database(admin, name, OWNER),
        "OWNER_DATABASE_PASSWORD": ROLE_PASSWORD,
        **dict.fromkeys(passwords, ROLE_PASSWORD),
        "RABBITMQ_ADMIN_URL": rabbitmq.admin_url,
        **{f"{service.upper()}_RABBITMQ_PASSWORD": SERVICE_PASSWORD for service in SERVICES},
        "USAGE_STREAM_MAX_BYTES": "50000000",
    }
    run_blocking(execute(servers.postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def execute(url: str, statement: str, *arguments: Any) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(statement, *arguments))
    finally:
        await connection.close()


def run(environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    unset = dict.fromkeys(("RABBITMQ_MANAGEMENT_URL", "RABBITMQ_CONTROL", "USAGE_STREAM_MAX_AGE"))
    result = CliRunner().invoke(app, list(arguments), env=unset | environment)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_everything_is_made_from_nothing_and_a_second_time_changes_nothing(environment: dict[str, str]) -> None:
    status, said, _ = run(environment, "all")
    assert status == 0
    assert [line for line in said.splitlines() if line.startswith("migrated")] == [
        f"migrated schema {schema}" for schema in ("auth", "knowledge", "chat", "usage")
    ]
    assert "30D or 0.05 GB" in said
    owner = environment["OWNER_DATABASE_URL"]
    assert run_blocking(execute(owner, "SELECT to_regclass('usage.ledger')"))[0][0] is not None
    run_blocking(assert_declared(environment["RABBITMQ_ADMIN_URL"]))

    status, said, _ = run(environment, "all")
    assert status == 0
    assert "migrated" not in said
    assert "notice" not in said


async def assert_declared(url: str) -> None:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        for name in (*(queue.name for service in SERVICES for queue in queues_of(service)), USAGE_STREAM):
            await channel.declare_queue(name, passive=True)


def test_what_is_missing_is_named_all_at_once(environment: dict[str, str]) -> None:
    without = {name: value for name, value in environment.items() if not name.startswith(("AUTH_", "CHAT_"))}
    status, _, error = run(without | dict.fromkeys(environment.keys() - without.keys(), ""), "topology")
    assert (status, error) == (1, "cannot set up: set AUTH_RABBITMQ_PASSWORD, CHAT_RABBITMQ_PASSWORD\n")
    status, _, error = run(environment | {"ADMIN_DATABASE_URL": ""}, "roles")
    assert (status, error) == (1, "cannot set up: set ADMIN_DATABASE_URL\n")
    status, _, error = run(environment | {"USAGE_STREAM_MAX_BYTES": "1 GB"}, "topology")
    assert status == 1
    assert "USAGE_STREAM_MAX_BYTES is '1 GB'" in error


def test_a_broker_that_does_not_know_the_logins_is_told_with_what_to_do(environment: dict[str, str]) -> None:
    status, _, error = run(environment | {"CHAT_RABBITMQ_PASSWORD": "another"}, "topology")
    assert status == 1
    assert "refuses the logins of chat" in error
    assert "python -m docuchat_setup logins | rabbitmqctl import_definitions" in error


def test_a_server_that_is_away_is_one_line(environment: dict[str, str]) -> None:
    for variable, command in (("ADMIN_DATABASE_URL", "roles"), ("RABBITMQ_ADMIN_URL", "topology")):
        scheme = "postgresql" if "DATABASE" in variable else "amqp"
        status, _, error = run(environment | {variable: f"{scheme}://a:secret@127.0.0.1:1/x"}, command)
        assert status == 1
        assert error.startswith("cannot set up: ")
        assert "secret" not in error


def test_the_logins_are_printed_without_a_password_in_the_clear(environment: dict[str, str]) -> None:
    status, said, _ = run(environment, "logins")
    definitions = json.loads(said)
    assert status == 0
    assert {user["name"] for user in definitions["users"]} == {f"docuchat_{service}" for service in SERVICES}
    assert all(right["configure"] == "^$" for right in definitions["permissions"])
    assert SERVICE_PASSWORD not in said


def test_an_operator_s_credential_is_made_once_and_the_older_of_the_name_ends(environment: dict[str, str]) -> None:
    assert run(environment, "roles")[0] == run(environment, "migrate")[0] == 0
    keys = [parse_operator_key(run(environment, "operator", "--name", "root")[1]) for _ in range(2)]
    assert None not in keys
    owner = environment["OWNER_DATABASE_URL"]
    rows = run_blocking(execute(owner, "SELECT id, secret_hash, revoked_at FROM auth.operators ORDER BY id"))
    assert [(row["id"], row["secret_hash"]) for row in rows] == [(key.id, key.secret_hash) for key in keys if key]
    assert [row["revoked_at"] is None for row in rows] == [False, True]


@pytest.mark.parametrize("role", role_names())
async def test_no_session_of_any_role_keeps_a_lock_for_ever(
    servers: TestServers, migrated_template: str, role: str
) -> None:
    url = with_database(servers.postgres_url, "postgres", role)
    connection = await asyncpg.connect(url)
    try:
        for setting, value in SESSION_SETTINGS.items():
            assert await connection.fetchval("SELECT current_setting($1)", setting) == value, setting
    finally:
        await connection.close()


async def test_a_transaction_that_is_left_open_ends_and_gives_its_locks_up(
    servers: TestServers, migrated_template: str
) -> None:
    url = with_database(servers.postgres_url, "postgres", app_role("chat"))
    holder, waiter = await asyncpg.connect(url), await asyncpg.connect(url)
    await holder.execute("SET idle_in_transaction_session_timeout = '200ms'")  # as SESSION_SETTINGS, but sooner
    await waiter.execute("SET lock_timeout = '50ms'")
    await holder.execute("BEGIN; SELECT pg_advisory_xact_lock(7305)")
    with pytest.raises(asyncpg.LockNotAvailableError):
        await waiter.execute("SELECT pg_advisory_xact_lock(7305)")
    await waiter.execute("SET lock_timeout = '5s'")
    await asyncio.wait_for(waiter.execute("SELECT pg_advisory_xact_lock(7305)"), timeout=30)
    await waiter.close()
    await eventually(holder.is_closed)
