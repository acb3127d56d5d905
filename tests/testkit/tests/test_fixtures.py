"""The fixtures on real servers."""

from __future__ import annotations

import asyncio
import fcntl
import functools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import aio_pika
import asyncpg
import httpx2
import jwt
import pytest
import redis.asyncio

from docuchat_common.events.catalogue import KeyRotated
from docuchat_setup.roles import OWNER
from docuchat_setup.schemas import migration_files
from docuchat_testkit.databases import ClonedDatabase, clone, drop, fingerprint, with_database
from docuchat_testkit.event_watch import UnfitEvent, check_events
from docuchat_testkit.eventually import eventually, eventually_sync
from docuchat_testkit.identity import TokenMint
from docuchat_testkit.servers import TestServers, has_room, remove_abandoned, servers_given

ENV = {
    "DOCUCHAT_TEST_POSTGRES_URL": "postgresql://a:b@h/db",
    "DOCUCHAT_TEST_REDIS_URL": "redis://h/0",
    "DOCUCHAT_TEST_RABBITMQ_URL": "amqp://a:b@h/",
}


def test_servers_are_put_into_memory_only_where_there_is_room(tmp_path: Path) -> None:
    assert has_room(tmp_path, 1)
    assert not has_room(tmp_path, 1 << 60)
    assert not has_room(tmp_path / "missing", 1)


def test_what_a_killed_session_left_in_memory_is_removed_and_a_living_one_keeps_its_own(tmp_path: Path) -> None:
    for name in ("docuchat-tests-killed", "docuchat-tests-living", "docuchat-tests-beginning", "others"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
        if name != "docuchat-tests-beginning":
            os.utime(tmp_path / name / "lock", (0, 0))
    with (tmp_path / "docuchat-tests-living" / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        remove_abandoned(tmp_path)
    left = {folder.name for folder in tmp_path.iterdir()}
    assert left == {"docuchat-tests-living", "docuchat-tests-beginning", "others"}


async def test_database_is_migrated_and_opens_with_weak_roles(database: ClonedDatabase) -> None:
    async with database.open("auth") as pools, pools.connection() as connection:
        assert await connection.fetchval("SELECT current_user") == "docuchat_auth"
    async with database.connect() as admin:
        schemas = {row[0] for row in await admin.fetch("SELECT nspname FROM pg_namespace")}
        assert {"auth", "knowledge", "chat", "usage"} <= schemas
        assert await admin.fetchval("SELECT count(*) FROM pg_extension WHERE extname = 'vector'") == 1


async def test_databases_of_two_tests_are_apart(database: ClonedDatabase) -> None:
    async with database.connect(OWNER) as owner:
        await owner.execute("CREATE TABLE auth.mark (id int)")
        assert await owner.fetchval("SELECT count(*) FROM auth.mark") == 0


async def test_database_is_new_each_time(database: ClonedDatabase) -> None:
    async with database.connect(OWNER) as owner:
        with pytest.raises(asyncpg.UndefinedTableError):
            await owner.fetchval("SELECT count(*) FROM auth.mark")


@pytest.mark.parametrize("turn", [1, 2])
async def test_redis_is_empty(redis_url: str, turn: int) -> None:
    async with redis.asyncio.from_url(redis_url) as client:
        assert await client.dbsize() == 0
        await client.set("turn", turn)


@pytest.mark.parametrize("turn", [1, 2])
async def test_broker_is_empty(rabbitmq_url: str, turn: int) -> None:
    async with await aio_pika.connect(rabbitmq_url) as connection, await connection.channel() as channel:
        queue = await channel.declare_queue("q", durable=True, arguments={"x-queue-type": "quorum"})
        assert queue.declaration_result.message_count == 0
        await channel.default_exchange.publish(aio_pika.Message(b"x"), "q")


async def test_minted_tokens_verify_against_the_served_keys(token_mint: TokenMint) -> None:
    old = token_mint.token(tenant_id=7, role="owner")
    token_mint.rotate()
    async with httpx2.AsyncClient() as http:
        keys = jwt.PyJWKSet.from_dict((await http.get(token_mint.jwks_url)).json())

    for token in (old, token_mint.token(tenant_id=7, role="owner")):
        key = keys[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(token, key, algorithms=["EdDSA"], audience="docuchat", issuer="docuchat")
        assert (claims["tenant"], claims["role"], claims["typ"]) == (7, "owner", "access")


def test_environment_of_a_service(service_environment: Callable[[str], dict[str, str]]) -> None:
    environment = service_environment("chat")
    assert "docuchat_chat:" in environment["DATABASE_URL"]
    assert "docuchat_chat_system:" in environment["SYSTEM_DATABASE_URL"]


def test_given_servers_are_used_or_refused_as_a_whole() -> None:
    given = servers_given(ENV)
    assert given is not None and given.source == "environment" and given.rabbitmq is None
    assert servers_given({}) is None
    with pytest.raises(RuntimeError, match="all of"):
        servers_given({"DOCUCHAT_TEST_REDIS_URL": "redis://h/0"})


async def test_a_broken_server_returns_at_its_address(breakable_servers: TestServers) -> None:
    assert breakable_servers.redis is not None
    client = redis.asyncio.from_url(breakable_servers.redis_url)
    await asyncio.to_thread(breakable_servers.redis.restart)
    assert await eventually(client.ping, timeout=5)
    await client.aclose()


async def test_eventually_raises_the_last_failure() -> None:
    async def never() -> None:
        raise AssertionError("still wrong")

    with pytest.raises(AssertionError, match="still wrong"):
        await eventually(never, timeout=0.1)


async def test_an_event_that_does_not_fit_its_published_schema_fails_the_test_that_committed_it(
    servers: TestServers, migrated_template: str
) -> None:
    cloned = await clone(servers.postgres_url, migrated_template)
    event = KeyRotated(tenant_id=0, kid="k")
    bodies = [event.to_cloudevent("auth"), event.to_cloudevent("auth").replace(b"/docuchat/auth", b"/docuchat/chat")]
    async with cloned.connect("docuchat_auth_system") as relay:
        for number, body in enumerate(bodies):
            await relay.execute(
                "INSERT INTO auth.outbox (event_id, type, tenant_id, body) VALUES ($1, $2, 0, $3)",
                uuid4(), event.type, body,
            )  # fmt: skip
            await relay.execute("DELETE FROM auth.outbox")  # as the relay does
            if number == 0:
                assert await check_events(with_database(servers.postgres_url, cloned.name)) == 1
    with pytest.raises(UnfitEvent, match=r"key\.rotated\.v1 does not fit its published schema: source"):
        await drop(cloned)
    async with cloned_count(servers, cloned) as left:
        assert left == 0


@asynccontextmanager
async def cloned_count(servers: TestServers, cloned: ClonedDatabase) -> AsyncIterator[int]:
    connection = await asyncpg.connect(servers.postgres_url)
    try:
        yield await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", cloned.name)
    finally:
        await connection.close()


def test_the_template_is_made_anew_when_anything_that_it_is_made_of_changes(tmp_path: Path) -> None:
    file = tmp_path / "0001_initial.sql"
    seen = set()
    for content in ("SELECT 1", "SELECT 2"):
        file.write_text(content)
        seen.add(fingerprint([file]))
    assert len(seen) == 2
    names = {path.name for path in migration_files()}
    assert {"ddl.py", "row_guards.py", "0001_initial.py"} <= names
    assert all(path.suffix in {".py", ".sql"} for path in migration_files())


@pytest.mark.parametrize("nothing", [None, 0, [], "", False])
async def test_eventually_does_not_take_nothing_for_something(nothing: object) -> None:
    with pytest.raises(TimeoutError, match="still gave"):
        await eventually(lambda: nothing, timeout=0.1)
    with pytest.raises(TimeoutError, match="still gave"):
        eventually_sync(lambda: nothing, timeout=0.1)


async def test_eventually_takes_a_check_that_asserts_and_gives_the_result_of_one_that_finds() -> None:
    def asserts() -> None:
        assert True

    await eventually(asserts, timeout=0.1)
    await eventually(functools.partial(asserts), timeout=0.1)
    assert await eventually(lambda: [1], timeout=0.1) == [1]
