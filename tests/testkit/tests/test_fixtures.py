"""The fixtures on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aio_pika
import asyncpg
import httpx
import jwt
import pytest
import redis.asyncio

from docuchat_setup.roles import OWNER
from docuchat_testkit.databases import ClonedDatabase
from docuchat_testkit.eventually import eventually
from docuchat_testkit.identity import TokenMint
from docuchat_testkit.servers import TestServers, servers_given

ENV = {
    "DOCUCHAT_TEST_POSTGRES_URL": "postgresql://a:b@h/db",
    "DOCUCHAT_TEST_REDIS_URL": "redis://h/0",
    "DOCUCHAT_TEST_RABBITMQ_URL": "amqp://a:b@h/",
}


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
    async with httpx.AsyncClient() as http:
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
