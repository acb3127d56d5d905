"""A repeated request takes effect once and is answered as the first was, byte for byte."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from docuchat_common.db import UnitOfWork
from docuchat_common.db.ddl import idempotent_requests_ddl, inbox_ddl, outbox_ddl
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import IdempotencyKey, replayed
from docuchat_common.idempotency import (
    Idempotency,
    IdempotencyKeyInvalid,
    IdempotencyKeyReused,
    IdempotencyKeyRunning,
    IdempotentRequests,
    StoredResponse,
    fingerprint_of,
)
from docuchat_common.ids import TenantId, uuid7
from docuchat_testkit.databases import ClonedDatabase
from docuchat_testkit.eventually import eventually

SCHEMA = "repeated"
ROLES = {"app_roles": ("docuchat_gateway",), "system_roles": ("docuchat_gateway_system",)}
SAME, OTHER = fingerprint_of("POST", b"{}"), fingerprint_of("POST", b"{ }")
CREATED = StoredResponse(201, b'{"id": 1,\n "created_at":"now"}', headers={"Location": "/v1/things/1"})


@dataclass(frozen=True)
class Tx:
    requests: IdempotentRequests
    connection: asyncpg.Connection


@pytest.fixture
async def uow(database: ClonedDatabase) -> AsyncIterator[UnitOfWork[Tx]]:
    async with database.connect() as administrator:
        await administrator.execute(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION docuchat_owner")
    async with database.connect("docuchat_owner") as owner:
        await owner.execute(outbox_ddl(SCHEMA, **ROLES))
        await owner.execute(inbox_ddl(SCHEMA, roles=ROLES["app_roles"], system_roles=ROLES["system_roles"]))
        await owner.execute(idempotent_requests_ddl(SCHEMA, **ROLES))
        await owner.execute(f"CREATE TABLE {SCHEMA}.effects (n int)")
        await owner.execute(f"GRANT SELECT, INSERT ON {SCHEMA}.effects TO docuchat_gateway")
    async with database.open("gateway") as opened:
        yield UnitOfWork(opened, lambda c, *_: Tx(IdempotentRequests(c, SCHEMA), c), schema=SCHEMA)


def a_user(tenant: int = 1) -> Caller:
    return Caller(TenantId(tenant), "user", uuid7(), role="member")


@pytest.fixture
def caller() -> Caller:
    return a_user()


async def create(
    uow: UnitOfWork[Tx], keys: Idempotency, caller: Caller, key: str, body: bytes = SAME
) -> StoredResponse:
    """What a route does."""
    async with keys.claim(caller, key) as claim:
        if not claim.is_first:
            return claim.replay(body)
        async with uow(caller.tenant_id) as tx:
            await tx.connection.execute(f"INSERT INTO {SCHEMA}.effects VALUES (1)")
            await tx.requests.settle(claim, body, CREATED)
        return CREATED


async def effects(uow: UnitOfWork[Tx]) -> int:
    async with uow(TenantId(1)) as tx:
        return int(await tx.connection.fetchval(f"SELECT count(*) FROM {SCHEMA}.effects"))


async def test_a_repetition_is_answered_byte_for_byte_and_has_no_effect(uow: UnitOfWork[Tx], caller: Caller) -> None:
    keys = Idempotency(uow)
    for _ in range(3):
        assert await create(uow, keys, caller, "k") == CREATED
    assert await effects(uow) == 1
    response = replayed(CREATED)
    assert (response.status_code, response.body) == (201, CREATED.body)
    assert (response.headers["location"], response.headers["idempotent-replayed"]) == ("/v1/things/1", "true")


async def test_a_refusal_that_was_kept_is_replayed_with_its_own_status(uow: UnitOfWork[Tx], caller: Caller) -> None:
    keys = Idempotency(uow)
    refusal = StoredResponse(413, b'{"code":"file_too_large"}', "application/problem+json")
    async with keys.claim(caller, "k") as claim, uow(caller.tenant_id) as tx:
        await tx.requests.settle(claim, SAME, refusal)
    assert await create(uow, keys, caller, "k") == refusal
    assert await effects(uow) == 0


async def test_another_request_with_the_same_key_is_refused_whenever_its_fingerprint_is_known(
    uow: UnitOfWork[Tx], caller: Caller
) -> None:
    keys = Idempotency(uow)
    await create(uow, keys, caller, "k")
    with pytest.raises(IdempotencyKeyReused):
        await create(uow, keys, caller, "k", OTHER)
    with pytest.raises(IdempotencyKeyReused):
        async with keys.claim(caller, "k", OTHER):
            pytest.fail("must not begin")


async def test_a_key_belongs_to_its_caller_alone(uow: UnitOfWork[Tx], caller: Caller) -> None:
    keys = Idempotency(uow)
    key = Caller(caller.tenant_id, "key", caller.subject_id, role="member")
    for somebody in (caller, a_user(), key, a_user(tenant=2)):
        await create(uow, keys, somebody, "k", fingerprint_of(somebody.subject))
    assert await effects(uow) == 4


async def test_of_requests_at_once_one_runs_and_the_others_are_told_when_to_come_back(
    uow: UnitOfWork[Tx], caller: Caller
) -> None:
    keys = Idempotency(uow)
    results = await asyncio.gather(*(create(uow, keys, caller, "k") for _ in range(5)), return_exceptions=True)
    assert await effects(uow) == 1
    for result in results:
        assert result == CREATED or isinstance(result, IdempotencyKeyRunning)
        if isinstance(result, IdempotencyKeyRunning):
            assert result.retry_after is not None


async def test_a_request_that_failed_frees_its_key(uow: UnitOfWork[Tx], caller: Caller) -> None:
    keys = Idempotency(uow)
    with pytest.raises(RuntimeError, match="failed"):
        async with keys.claim(caller, "k", OTHER) as claim, uow(caller.tenant_id) as tx:
            await tx.requests.settle(claim, OTHER, CREATED)
            raise RuntimeError("failed")
    assert await create(uow, keys, caller, "k") == CREATED
    assert await effects(uow) == 1


async def test_the_key_of_a_long_request_stays_held_and_that_of_a_dead_process_does_not(
    uow: UnitOfWork[Tx], caller: Caller
) -> None:
    renewing = Idempotency(uow, lease=timedelta(seconds=3))

    async def lease() -> timedelta:
        async with uow(caller.tenant_id) as tx:
            return await tx.connection.fetchval(f"SELECT lease_until - created_at FROM {SCHEMA}.idempotent_requests")

    async with renewing.claim(caller, "k"):

        async def renewed() -> bool:
            return await lease() > timedelta(seconds=3.1)

        await eventually(renewed)
        with pytest.raises(IdempotencyKeyRunning):
            async with renewing.claim(caller, "k"):
                pytest.fail("must not begin")
    # a process that dies gives nothing back: its claim is in the table, and its lease ends
    async with uow(caller.tenant_id) as tx:
        await tx.connection.execute(
            f"INSERT INTO {SCHEMA}.idempotent_requests (tenant_id, subject, key_hash, owner, lease_until) "
            "VALUES (1, $1, sha256('dead'), $2, now() - interval '1 ms')",
            caller.subject,
            uuid7(),
        )
    assert await create(uow, renewing, caller, "dead") == CREATED


async def test_whoever_lost_its_lease_cannot_take_effect_any_more(uow: UnitOfWork[Tx], caller: Caller) -> None:
    keys = Idempotency(uow)
    with pytest.raises(IdempotencyKeyRunning):
        async with keys.claim(caller, "k") as claim:
            async with uow(caller.tenant_id) as tx:
                await tx.connection.execute(f"UPDATE {SCHEMA}.idempotent_requests SET lease_until = now()")
            assert await create(uow, keys, caller, "k") == CREATED
            async with uow(caller.tenant_id) as tx:
                await tx.connection.execute(f"INSERT INTO {SCHEMA}.effects VALUES (2)")
                await tx.requests.settle(claim, SAME, CREATED)
    assert await effects(uow) == 1


async def test_whoever_lost_its_lease_to_a_request_that_still_runs_cannot_settle(
    uow: UnitOfWork[Tx], caller: Caller
) -> None:
    keys = Idempotency(uow)
    async with keys.claim(caller, "k") as late:
        async with uow(caller.tenant_id) as tx:
            await tx.connection.execute(f"UPDATE {SCHEMA}.idempotent_requests SET lease_until = now()")
        async with keys.claim(caller, "k") as second:
            with pytest.raises(IdempotencyKeyRunning):
                async with uow(caller.tenant_id) as tx:
                    await tx.requests.settle(late, SAME, CREATED)
            async with uow(caller.tenant_id) as tx:
                await tx.requests.settle(second, SAME, CREATED)


async def test_whoever_lost_its_lease_neither_frees_nor_renews_the_key_of_the_other(
    uow: UnitOfWork[Tx], caller: Caller
) -> None:
    keys = Idempotency(uow)
    async with keys.claim(caller, "k") as late:
        async with uow(caller.tenant_id) as tx:
            await tx.connection.execute(f"UPDATE {SCHEMA}.idempotent_requests SET lease_until = now()")
        async with keys.claim(caller, "k"), uow(caller.tenant_id) as tx:
            await tx.requests.renew(late, timedelta(days=1))
            await tx.requests.release(late)
            left = await tx.connection.fetchval(f"SELECT lease_until - now() FROM {SCHEMA}.idempotent_requests")
    assert left is not None
    assert left < timedelta(hours=1)


async def test_a_repetition_follows_what_was_begun(uow: UnitOfWork[Tx], caller: Caller) -> None:
    keys, turn = Idempotency(uow), uuid7()
    async with keys.claim(caller, "k", SAME) as claim, uow(caller.tenant_id) as tx:
        await tx.requests.begin(claim, turn)
    async with keys.claim(caller, "k", SAME) as again:
        assert (again.is_first, again.reference, again.response) == (False, turn, None)
    with pytest.raises(IdempotencyKeyReused):
        async with keys.claim(caller, "k", OTHER):
            pytest.fail("must not begin")


async def test_the_key_of_what_came_to_nothing_is_free(uow: UnitOfWork[Tx], caller: Caller) -> None:
    keys, turn = Idempotency(uow), uuid7()
    async with keys.claim(caller, "k", SAME) as claim, uow(caller.tenant_id) as tx:
        await tx.requests.begin(claim, turn)
    async with uow(caller.tenant_id) as tx:
        await tx.requests.release_begun(caller.tenant_id, turn)
    assert await create(uow, keys, caller, "k") == CREATED


@pytest.mark.parametrize("key", ["", " ", "a b", "a, b", "k\n", "ключ", "x" * 256])
async def test_a_key_is_visible_ascii(uow: UnitOfWork[Tx], caller: Caller, key: str) -> None:
    with pytest.raises(IdempotencyKeyInvalid):
        await create(uow, Idempotency(uow), caller, key)


async def test_of_several_keys_none_is_chosen() -> None:
    app = FastAPI()

    @app.post("/")
    async def created(key: IdempotencyKey = None) -> str | None:
        return key

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://x") as client:
        for keys, read in (([], None), (["a"], "a"), (["a", "b"], "a, b"), (["a", "a"], "a, a")):
            response = await client.post("/", headers=[("Idempotency-Key", key) for key in keys])
            assert response.json() == read


async def test_old_keys_are_forgotten(uow: UnitOfWork[Tx], caller: Caller) -> None:
    keys = Idempotency(uow)
    await create(uow, keys, caller, "k")
    for older_than, left in ((timedelta(days=1), 1), (timedelta(0), 0)):
        async with uow.system() as tx:
            await tx.requests.forget(older_than)
        async with uow(caller.tenant_id) as tx:
            assert await tx.connection.fetchval(f"SELECT count(*) FROM {SCHEMA}.idempotent_requests") == left


async def test_a_database_that_does_not_begin_is_asked_once(caller: Caller) -> None:
    asked = 0

    @asynccontextmanager
    async def away(_: TenantId) -> AsyncIterator[Tx]:
        nonlocal asked
        asked += 1
        raise UpstreamUnavailable
        yield

    with pytest.raises(UpstreamUnavailable):
        async with Idempotency(away).claim(caller, "k"):
            pass
    assert asked == 1


async def test_a_claim_whose_commit_was_not_answered_is_claimed_again(uow: UnitOfWork[Tx], caller: Caller) -> None:
    class Lossy:
        lost = 0

        @asynccontextmanager
        async def __call__(self, tenant_id: TenantId) -> AsyncIterator[Tx]:
            async with uow(tenant_id) as tx:
                yield tx
            self.lost += 1
            if self.lost == 1:
                raise UpstreamUnavailable

    assert await create(uow, Idempotency(Lossy()), caller, "k") == CREATED
