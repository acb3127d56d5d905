"""What the stores promise, and what the database alone guarantees."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from limits.aio.storage import RedisStorage

from docuchat_auth.adapters.codes import RedisCodeStore
from docuchat_auth.adapters.limiter import WindowLimiter
from docuchat_auth.codes.domain import Account, Redemption
from docuchat_auth.codes.errors import TooManyAttempts
from docuchat_auth.codes.ports import AttemptLimit
from docuchat_auth.codes.pseudonyms import CodeDigests, KeyedPseudonyms
from docuchat_auth.sessions.domain import RefreshToken
from docuchat_auth.signing_keys.domain import SigningAlgorithm
from docuchat_auth.signing_keys.sealing import SealedKeyForge
from docuchat_auth.tenants.domain import Slug
from docuchat_auth.tenants.errors import TenantTaken
from docuchat_auth.transaction import Tx, compose
from docuchat_auth.users.domain import Email, Role
from docuchat_common.db import UnitOfWork, load_queries
from docuchat_common.events.catalogue import UserRegistered
from docuchat_common.ids import TenantId, UserId, uuid7
from docuchat_common.redis import open_redis

SECRET = "a-secret-of-the-tests-that-is-long-enough"
ACCOUNT = Account(TenantId(1), Email("ann@example.com"))
LIFE = timedelta(minutes=10)


def now() -> datetime:
    # Postgres keeps microseconds, as Python does
    return datetime.now(UTC)


class TestCodeStore:
    @pytest.fixture
    async def store(self, redis_url: str) -> AsyncIterator[Any]:
        async with open_redis(redis_url, client_name="test-auth") as client:
            yield RedisCodeStore(client, CodeDigests(SECRET), KeyedPseudonyms(SECRET))

    async def test_the_right_guess_is_accepted_once(self, store: Any) -> None:
        await store.put(ACCOUNT, "123456", lifetime=LIFE, guesses=5)
        assert await store.redeem(ACCOUNT, "123456") is Redemption.ACCEPTED
        assert await store.redeem(ACCOUNT, "123456") is Redemption.MISSING

    async def test_wrong_guesses_cost_and_the_last_ends_the_code(self, store: Any) -> None:
        await store.put(ACCOUNT, "123456", lifetime=LIFE, guesses=3)
        outcomes = [await store.redeem(ACCOUNT, "000000") for _ in range(4)]
        assert outcomes == [Redemption.WRONG, Redemption.WRONG, Redemption.EXHAUSTED, Redemption.MISSING]
        assert await store.redeem(ACCOUNT, "123456") is Redemption.MISSING

    async def test_a_new_code_replaces_the_old_with_all_its_guesses(self, store: Any) -> None:
        await store.put(ACCOUNT, "123456", lifetime=LIFE, guesses=2)
        await store.redeem(ACCOUNT, "000000")
        await store.put(ACCOUNT, "654321", lifetime=LIFE, guesses=2)
        assert await store.redeem(ACCOUNT, "123456") is Redemption.WRONG
        assert await store.redeem(ACCOUNT, "654321") is Redemption.ACCEPTED

    async def test_accounts_are_apart(self, store: Any) -> None:
        await store.put(ACCOUNT, "123456", lifetime=LIFE, guesses=5)
        assert await store.redeem(replace(ACCOUNT, tenant_id=TenantId(2)), "123456") is Redemption.MISSING
        assert await store.redeem(replace(ACCOUNT, email=Email("b@example.com")), "123456") is Redemption.MISSING
        assert await store.redeem(ACCOUNT, "123456") is Redemption.ACCEPTED

    async def test_a_code_ends_with_its_life(self, store: Any) -> None:
        from docuchat_testkit.eventually import eventually

        await store.put(ACCOUNT, "123456", lifetime=timedelta(milliseconds=30), guesses=100_000)

        async def gone() -> bool:
            return await store.redeem(ACCOUNT, "000000") is Redemption.MISSING

        await eventually(gone, timeout=5)

    async def test_fifty_parallel_tries_have_one_winner(self, store: Any) -> None:
        await store.put(ACCOUNT, "123456", lifetime=LIFE, guesses=5)
        outcomes = await asyncio.gather(*(store.redeem(ACCOUNT, "123456") for _ in range(50)))
        assert sorted(set(outcomes)) == [Redemption.ACCEPTED, Redemption.MISSING]
        assert outcomes.count(Redemption.ACCEPTED) == 1

    async def test_fifty_parallel_wrong_tries_cost_five(self, store: Any) -> None:
        await store.put(ACCOUNT, "123456", lifetime=LIFE, guesses=5)
        outcomes = await asyncio.gather(*(store.redeem(ACCOUNT, "000000") for _ in range(50)))
        assert (outcomes.count(Redemption.WRONG), outcomes.count(Redemption.EXHAUSTED)) == (4, 1)


async def test_redis_holds_neither_code_nor_address(redis_url: str) -> None:
    async with open_redis(redis_url, client_name="test-auth") as client:
        store = RedisCodeStore(client, CodeDigests(SECRET), KeyedPseudonyms(SECRET))
        await store.put(ACCOUNT, "123456", lifetime=LIFE, guesses=5)
        (key,) = await client.keys()
        seen = repr(key) + repr(await client.hgetall(key))
        assert "123456" not in seen
        assert "ann" not in seen
        assert 0 < await client.pttl(key) <= LIFE.total_seconds() * 1000


class TestLimiter:
    @pytest.fixture
    async def limiter(self, redis_url: str) -> AsyncIterator[Any]:
        async with open_redis(redis_url, client_name="test-auth") as client:
            options: dict[str, Any] = {"connection_pool": client.connection_pool}
            storage = RedisStorage(f"async+{redis_url}", implementation="redispy", wrap_exceptions=True, **options)
            yield WindowLimiter(storage)

    async def test_the_budget_is_exact_under_parallel_hits(self, limiter: Any) -> None:
        limit = AttemptLimit("test", "7/hour")
        outcomes = await asyncio.gather(*(limiter.hit(limit, "someone") for _ in range(50)), return_exceptions=True)
        assert outcomes.count(None) == 7
        refused = [outcome for outcome in outcomes if isinstance(outcome, TooManyAttempts)]
        assert len(refused) == 43
        assert all(error.retry_after and 3590 <= error.retry_after.total_seconds() <= 3600 for error in refused)

    async def test_subjects_and_limits_are_apart_and_every_window_counts(self, limiter: Any) -> None:
        limit = AttemptLimit("test", "2/second;3/hour")
        await limiter.hit(limit, "a")
        await limiter.hit(limit, "a")
        with pytest.raises(TooManyAttempts):
            await limiter.hit(limit, "a")
        await limiter.hit(limit, "b")
        await limiter.hit(AttemptLimit("other", "1/hour"), "a")


class TestUnitOfWork:
    @pytest.fixture
    async def uow(self, database: Any) -> AsyncIterator[Any]:
        async with database.open("auth") as pools:
            yield UnitOfWork(pools, compose, schema="auth")

    @staticmethod
    async def tenant(uow: UnitOfWork[Tx], slug: str = "demo", tenant_id: int | None = None) -> Any:
        async with uow.system() as tx:
            chosen = None if tenant_id is None else TenantId(tenant_id)
            return await tx.tenants.add(Slug(slug), slug.title(), signup_open=True, tenant_id=chosen)

    @staticmethod
    async def user(uow: UnitOfWork[Tx], tenant: Any, email: str = "ann@example.com") -> Any:
        async with uow(tenant.id) as tx:
            return await tx.users.register(tenant.id, UserId(uuid7()), Email(email), now())

    @staticmethod
    def token(
        user: Any, family: Any = None, parent: Any = None, lifetime: timedelta = timedelta(days=30)
    ) -> RefreshToken:
        moment = now()
        return RefreshToken(
            uuid7(), user.tenant_id, user.id, family or uuid7(), parent, moment, moment + lifetime, None, None
        )

    async def test_tenants_get_free_ids_beside_chosen_ones(self, uow: Any) -> None:
        chosen = [await self.tenant(uow, "a", 1), await self.tenant(uow, "b"), await self.tenant(uow, "c", 9)]
        assert [tenant.id for tenant in [*chosen, await self.tenant(uow, "d")]] == [1, 2, 9, 10]

    async def test_a_taken_tenant_is_refused_and_the_transaction_lives(self, uow: Any) -> None:
        await self.tenant(uow, "demo", 1)
        async with uow.system() as tx:
            with pytest.raises(TenantTaken):
                await tx.tenants.add(Slug("demo"), "Demo", signup_open=True, tenant_id=None)
            with pytest.raises(TenantTaken):
                await tx.tenants.add(Slug("other"), "Other", signup_open=True, tenant_id=TenantId(1))
            assert (await tx.tenants.find_by_slug(Slug("demo"))).id == 1

    async def test_a_tenant_sees_itself_only(self, uow: Any) -> None:
        one, two = await self.tenant(uow, "one"), await self.tenant(uow, "two")
        user = await self.user(uow, two)
        async with uow(one.id) as tx:
            assert await tx.tenants.find_by_id(one.id) == one
            assert await tx.tenants.find_by_id(two.id) is None
            assert await tx.tenants.find_by_slug(two.slug) is None
            assert await tx.users.find_by_id(two.id, user.id) is None
            assert await tx.users.find_by_email(two.id, user.email) is None

    async def test_sign_up_opens_and_closes(self, uow: Any) -> None:
        await self.tenant(uow)
        async with uow.system() as tx:
            assert (await tx.tenants.set_signup(Slug("demo"), is_open=False)).signup_open is False
            assert await tx.tenants.set_signup(Slug("none"), is_open=False) is None

    async def test_an_address_registers_once_in_a_tenant(self, uow: Any) -> None:
        one, two = await self.tenant(uow, "one"), await self.tenant(uow, "two")
        first = await self.user(uow, one)
        assert await self.user(uow, one) is None
        other = await self.user(uow, two)
        assert (first.role, other.role) == (Role.OWNER, Role.OWNER)
        assert (await self.user(uow, one, "ben@example.com")).role is Role.MEMBER
        moment = now()
        async with uow(one.id) as tx:
            await tx.users.record_login(one.id, first.id, moment)
            assert await tx.users.find_by_email(one.id, first.email) == replace(first, last_login_at=moment)

    async def test_first_comers_in_parallel_make_one_owner(self, uow: Any) -> None:
        tenant = await self.tenant(uow)
        users = await asyncio.gather(*(self.user(uow, tenant, f"user{number}@example.com") for number in range(8)))
        assert sorted(user.role for user in users) == [Role.MEMBER] * 7 + [Role.OWNER]

    async def test_a_refresh_token_is_used_once(self, uow: Any) -> None:
        tenant = await self.tenant(uow)
        user = await self.user(uow, tenant)
        token = self.token(user)
        async with uow(tenant.id) as tx:
            await tx.refresh_tokens.add(token, b"a" * 32)
            assert await tx.refresh_tokens.find(tenant.id, b"a" * 32) == token
            assert await tx.refresh_tokens.find(tenant.id, b"b" * 32) is None
            assert not await tx.refresh_tokens.use(tenant.id, token.id, token.expires_at)
            moment = now()
            assert await tx.refresh_tokens.use(tenant.id, token.id, moment)
            assert not await tx.refresh_tokens.use(tenant.id, token.id, moment)
            assert (await tx.refresh_tokens.find(tenant.id, b"a" * 32)).used_at == moment

    async def test_a_family_is_revoked_as_a_whole_and_alone(self, uow: Any) -> None:
        tenant = await self.tenant(uow)
        user = await self.user(uow, tenant)
        first = self.token(user)
        second = self.token(user, first.family_id, first.id)
        other = self.token(user)
        async with uow(tenant.id) as tx:
            for token, letter in ((first, b"a"), (second, b"b"), (other, b"c")):
                await tx.refresh_tokens.add(token, letter * 32)
            await tx.refresh_tokens.lock_family(first.family_id)
            assert await tx.refresh_tokens.revoke_family(tenant.id, first.family_id, now()) == 2
            assert await tx.refresh_tokens.revoke_family(tenant.id, first.family_id, now()) == 0
            assert not await tx.refresh_tokens.use(tenant.id, second.id, now())
            assert await tx.refresh_tokens.use(tenant.id, other.id, now())

    async def test_expired_tokens_are_deleted_a_batch_at_a_time(self, uow: Any) -> None:
        tenant = await self.tenant(uow)
        user = await self.user(uow, tenant)
        async with uow(tenant.id) as tx:
            for letter in (b"a", b"b", b"c"):
                await tx.refresh_tokens.add(self.token(user, lifetime=timedelta(microseconds=1)), letter * 32)
            await tx.refresh_tokens.add(self.token(user), b"d" * 32)
        async with uow.system() as tx:
            later = now() + timedelta(seconds=1)
            assert [await tx.refresh_tokens.delete_expired(later, 2) for _ in range(3)] == [2, 1, 0]
        async with uow(tenant.id) as tx:
            assert await tx.refresh_tokens.find(tenant.id, b"d" * 32) is not None

    async def test_signing_keys_are_kept_retired_and_dropped(self, uow: Any) -> None:
        forge = SealedKeyForge(SECRET)
        moment = now()
        older = forge.create(SigningAlgorithm.EDDSA, created_at=moment, not_before=moment)
        newer = forge.create(SigningAlgorithm.ES256, created_at=moment, not_before=moment + timedelta(minutes=1))
        async with uow.system() as tx:
            await tx.signing_keys.lock()
            await tx.signing_keys.add(newer)
            await tx.signing_keys.add(older)
            assert list(await tx.signing_keys.list_all()) == [older, newer]
            await tx.signing_keys.retire(older.kid, moment + timedelta(minutes=2))
            await tx.signing_keys.retire(older.kid, moment + timedelta(minutes=3))  # the earlier one stands
            kept = (await tx.signing_keys.list_all())[0]
            assert kept == replace(older, retired_at=moment + timedelta(minutes=2))
            assert forge.can_open(kept)
            await tx.signing_keys.drop(newer.kid)
            assert [key.kid for key in await tx.signing_keys.list_all()] == [older.kid]

    async def test_an_exception_leaves_nothing(self, uow: Any) -> None:
        tenant = await self.tenant(uow)
        with pytest.raises(ZeroDivisionError):
            async with uow(tenant.id) as tx:
                await tx.users.register(tenant.id, UserId(uuid4()), Email("ann@example.com"), now())
                tx.outbox.add(UserRegistered(tenant_id=tenant.id, user_id=uuid4(), role="owner"))
                1 / 0  # noqa: B018 - any exception
        async with uow(tenant.id) as tx:
            assert await tx.users.find_by_email(tenant.id, Email("ann@example.com")) is None


@asynccontextmanager
async def as_role(database: Any, role: str, tenant_id: int | None) -> AsyncIterator[asyncpg.Connection]:
    async with database.connect(role) as connection, connection.transaction():
        if tenant_id is not None:
            await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(tenant_id))
        yield connection


class TestRoles:
    """What the database alone guarantees (S2)."""

    @pytest.fixture
    async def tenants(self, database: Any) -> None:
        async with database.open("auth") as pools:
            uow = UnitOfWork(pools, compose, schema="auth")
            for number in (1, 2):
                tenant = await TestUnitOfWork.tenant(uow, f"tenant-{number}")
                user = await TestUnitOfWork.user(uow, tenant)
                async with uow(tenant.id) as tx:
                    await tx.refresh_tokens.add(TestUnitOfWork.token(user), bytes([number]) * 32)

    @pytest.mark.parametrize("table", ["tenants", "users", "refresh_tokens"])
    async def test_row_level_security_is_enough_by_itself(self, database: Any, tenants: None, table: str) -> None:
        count = {
            "tenants": "SELECT count(*) FROM auth.tenants",
            "users": "SELECT count(*) FROM auth.users",
            "refresh_tokens": "SELECT count(*) FROM auth.refresh_tokens",
        }[table]
        for tenant_id, visible in ((None, 0), (1, 1), (2, 1), (3, 0)):
            async with as_role(database, "docuchat_auth", tenant_id) as connection:
                assert await connection.fetchval(count) == visible

    @pytest.mark.parametrize(
        "statement",
        [
            "SELECT 1 FROM auth.signing_keys",
            "INSERT INTO auth.tenants (slug, name) VALUES ('x', 'x')",
            "UPDATE auth.users SET role = 'owner'",
            "UPDATE auth.users SET is_active = true",
            "DELETE FROM auth.users",
            "UPDATE auth.refresh_tokens SET expires_at = now()",
            "DELETE FROM auth.refresh_tokens",
            "SELECT body FROM auth.outbox",
            "CREATE TABLE auth.mine ()",
        ],
    )
    async def test_the_application_role_may_not(self, database: Any, tenants: None, statement: str) -> None:
        async with as_role(database, "docuchat_auth", 1) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)

    @pytest.mark.parametrize(
        "statement",
        [
            "SELECT 1 FROM auth.users",
            "SELECT token_hash FROM auth.refresh_tokens",
            "UPDATE auth.refresh_tokens SET used_at = now()",
            "UPDATE auth.signing_keys SET sealed_private_key = ''",
            "UPDATE auth.tenants SET name = 'x'",
        ],
    )
    async def test_the_system_role_may_not(self, database: Any, tenants: None, statement: str) -> None:
        async with as_role(database, "docuchat_auth_system", None) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)

    async def test_a_row_of_another_tenant_cannot_be_written(self, database: Any, tenants: None) -> None:
        async with as_role(database, "docuchat_auth", 1) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(
                    "INSERT INTO auth.users (tenant_id, id, email, role) "
                    "VALUES (2, gen_random_uuid(), 'e@example.com', 'owner')"
                )

    @pytest.mark.parametrize("role", ["docuchat_chat", "docuchat_gateway", "docuchat_usage", "docuchat_ingest"])
    async def test_other_services_see_nothing_of_auth(self, database: Any, role: str) -> None:
        async with as_role(database, role, 1) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("SELECT 1 FROM auth.users")


@pytest.mark.parametrize(
    ("query", "index", "arguments"),
    [
        ("users.find_user_by_email", "users_email_key", (1, "ann@example.com")),
        ("users.find_user_by_id", "users_pkey", (1, uuid4())),
        ("sessions.find_refresh_token", "refresh_tokens_hash_key", (1, b"a" * 32)),
        ("sessions.revoke_family", "refresh_tokens_family", (datetime.now(UTC), 1, uuid4())),
        ("sessions.delete_expired_refresh_tokens", "refresh_tokens_expires_at", (datetime.now(UTC), 10)),
        ("tenants.find_tenant_by_slug", "tenants_slug_key", ("demo",)),
    ],
)
async def test_hot_queries_use_their_index(database: Any, query: str, index: str, arguments: tuple[Any, ...]) -> None:
    noun, _, name = query.partition(".")
    sql = getattr(load_queries(f"docuchat_auth.{noun}"), name).sql
    async with database.connect() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(row[0] for row in await connection.fetch("EXPLAIN " + sql, *arguments))
    assert index in plan, plan
