"""What the stores promise, and what the database alone guarantees."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from docuchat_auth.codes.domain import Account, GuessBudget, Redemption, challenge_name
from docuchat_auth.codes.pseudonyms import CodeDigests, KeyedPseudonyms
from docuchat_auth.codes.store import CodeStore
from docuchat_auth.sessions.domain import RefreshToken, SignInMethod
from docuchat_auth.signing_keys.domain import SigningAlgorithm
from docuchat_auth.signing_keys.sealing import SealedKeyForge
from docuchat_auth.tenants.domain import INVITED_ONLY, OPEN, Slug
from docuchat_auth.tenants.errors import TenantTaken
from docuchat_auth.transaction import Tx, compose
from docuchat_auth.users.domain import Email, Newcomer
from docuchat_common.contracts.permissions import Role
from docuchat_common.db import UnitOfWork, load_queries
from docuchat_common.events.catalogue import UserRegistered
from docuchat_common.ids import TenantId, uuid7
from docuchat_common.redis import open_redis
from docuchat_testkit.eventually import SLOWLY

SECRET = "a-secret-of-the-tests-that-is-long-enough"
ACCOUNT = Account(TenantId(1), Email("ann@example.com"))
LIFE = timedelta(minutes=10)
CHALLENGE = "c" * 32


def now() -> datetime:
    # Postgres keeps microseconds, as Python does
    return datetime.now(UTC)


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[CodeStore]:
    async with open_redis(redis_url, client_name="test-auth", timeout=SLOWLY) as client:
        yield CodeStore(client, CodeDigests(SECRET), KeyedPseudonyms(SECRET), GuessBudget(5, 100))


async def guess(
    store: CodeStore, code: str, challenge: str | None = CHALLENGE, account: Account = ACCOUNT
) -> Redemption:
    return (await store.redeem(account, challenge, code, network="192.0.2.1"))[0]


class TestCodeStore:
    async def test_the_right_guess_is_accepted_once(self, store: CodeStore) -> None:
        await store.put(ACCOUNT, CHALLENGE, "123456", lifetime=LIFE)
        assert await guess(store, "123456") is Redemption.ACCEPTED
        assert await guess(store, "123456") is Redemption.MISSING
        assert await guess(store, "123456", None) is Redemption.MISSING

    async def test_without_a_challenge_the_newest_code_is_meant(self, store: CodeStore) -> None:
        await store.put(ACCOUNT, CHALLENGE, "123456", lifetime=LIFE)
        await store.put(ACCOUNT, "b" * 32, "654321", lifetime=LIFE)
        assert await guess(store, "123456", None) is Redemption.WRONG
        assert await guess(store, "654321", None) is Redemption.ACCEPTED
        assert await guess(store, "123456") is Redemption.ACCEPTED

    async def test_accounts_are_apart(self, store: CodeStore) -> None:
        await store.put(ACCOUNT, CHALLENGE, "123456", lifetime=LIFE)
        for other in (replace(ACCOUNT, tenant_id=TenantId(2)), replace(ACCOUNT, email=Email("b@example.com"))):
            assert await guess(store, "123456", CHALLENGE, other) is Redemption.MISSING
            assert await guess(store, "123456", None, other) is Redemption.MISSING
        assert await guess(store, "123456") is Redemption.ACCEPTED

    async def test_a_code_ends_with_its_life(self, store: CodeStore) -> None:
        from docuchat_testkit.eventually import eventually

        await store.put(ACCOUNT, CHALLENGE, "123456", lifetime=timedelta(milliseconds=1))

        async def gone() -> bool:
            return not await store._client.exists(f"{store._prefix(ACCOUNT)}:{challenge_name(CHALLENGE)}")

        await eventually(gone)
        assert await guess(store, "123456") is Redemption.MISSING

    async def test_fifty_parallel_tries_have_one_winner_and_are_no_failures(self, store: CodeStore) -> None:
        await store.put(ACCOUNT, CHALLENGE, "123456", lifetime=LIFE)
        outcomes = await asyncio.gather(*(guess(store, "123456", None) for _ in range(50)))
        assert (outcomes.count(Redemption.ACCEPTED), outcomes.count(Redemption.MISSING)) == (1, 49)

    async def test_fifty_parallel_wrong_tries_cost_what_a_code_bears(self, store: CodeStore) -> None:
        await store.put(ACCOUNT, CHALLENGE, "123456", lifetime=LIFE)
        shown = [CHALLENGE, None] * 10
        outcomes = await asyncio.gather(*(guess(store, "000000", challenge) for challenge in shown))
        assert outcomes.count(Redemption.WRONG) == 5 - 2
        assert outcomes.count(Redemption.ACCEPTED) == 0
        assert await guess(store, "123456") is Redemption.MISSING

    async def test_a_browser_is_known_once_it_signed_in_with_its_challenge(self, store: CodeStore) -> None:
        await store.put(ACCOUNT, CHALLENGE, "123456", lifetime=LIFE)
        assert not await store.knows(ACCOUNT, CHALLENGE)
        await guess(store, "123456")
        assert await store.knows(ACCOUNT, CHALLENGE)
        assert not await store.knows(replace(ACCOUNT, tenant_id=TenantId(2)), CHALLENGE)
        assert not await store.knows(ACCOUNT, None)


async def test_redis_holds_neither_code_nor_address_nor_challenge(store: CodeStore) -> None:
    await store.put(ACCOUNT, CHALLENGE, "123456", lifetime=LIFE)
    await guess(store, "000000")
    seen = ""
    for key in await store._client.keys():
        kind = (await store._client.type(key)).decode()
        read = {
            "hash": store._client.hgetall,
            "string": store._client.get,
            "zset": partial(store._client.zrange, start=0, end=-1),
        }
        seen += repr(key) + repr(await read[kind](key))
    assert seen and not [word for word in ("123456", "ann", CHALLENGE) if word in seen]


class TestUnitOfWork:
    @pytest.fixture
    async def uow(self, database: Any) -> AsyncIterator[Any]:
        async with database.open("auth") as pools:
            yield UnitOfWork(pools, compose, schema="auth")

    @staticmethod
    async def tenant(uow: UnitOfWork[Tx], slug: str = "demo", tenant_id: int | None = None) -> Any:
        async with uow.system() as tx:
            chosen = None if tenant_id is None else TenantId(tenant_id)
            return await tx.tenants.add(Slug(slug), slug.title(), signup=OPEN, tenant_id=chosen)

    @staticmethod
    async def user(uow: UnitOfWork[Tx], tenant: Any, email: str = "ann@example.com") -> Any:
        async with uow(tenant.id) as tx:
            return await tx.users.register(tenant.id, Newcomer(email=Email(email)), now())

    @staticmethod
    def token(
        user: Any, family: Any = None, parent: Any = None, lifetime: timedelta = timedelta(days=30)
    ) -> RefreshToken:
        moment = now()
        return RefreshToken(
            uuid7(),
            user.tenant_id,
            user.id,
            family or uuid7(),
            SignInMethod.CODE,
            parent,
            moment,
            moment + lifetime,
            None,
            None,
            False,
        )

    async def test_tenants_get_free_ids_beside_chosen_ones(self, uow: Any) -> None:
        chosen = [await self.tenant(uow, "a", 1), await self.tenant(uow, "b"), await self.tenant(uow, "c", 9)]
        assert [tenant.id for tenant in [*chosen, await self.tenant(uow, "d")]] == [1, 2, 9, 10]

    async def test_a_taken_tenant_is_refused_and_the_transaction_lives(self, uow: Any) -> None:
        await self.tenant(uow, "demo", 1)
        async with uow.system() as tx:
            with pytest.raises(TenantTaken):
                await tx.tenants.add(Slug("demo"), "Demo", signup=OPEN, tenant_id=None)
            with pytest.raises(TenantTaken):
                await tx.tenants.add(Slug("other"), "Other", signup=OPEN, tenant_id=TenantId(1))
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
            assert (await tx.tenants.set_signup(TenantId(1), INVITED_ONLY)).signup == INVITED_ONLY
            assert await tx.tenants.set_signup(TenantId(99), INVITED_ONLY) is None

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

    async def test_a_change_of_the_account_is_stamped_and_a_sign_in_is_none(self, uow: Any) -> None:
        tenant = await self.tenant(uow)
        claimed = Email("ann@example.com")
        async with uow(tenant.id) as tx:

            async def changed(change: str, *values: Any, age: timedelta = timedelta(hours=1)) -> timedelta:
                """How long after the registration a change of another user is stamped."""
                user = await tx.users.register(tenant.id, Newcomer(claimed_email=claimed, name="Ann"), now() - age)
                await getattr(tx.users, change)(tenant.id, user.id, *values)
                found = await tx.users.find_by_id(tenant.id, user.id)
                later: timedelta = found.updated_at - found.created_at
                return later

            for kept in (("record_login", now()), ("outdate",), ("rename", "Ann")):
                assert await changed(*kept) == timedelta(0)
            for made in (("rename", "Anna"), ("change", Role.ADMIN, True), ("change", Role.MEMBER, False)):
                assert timedelta(minutes=50) < await changed(*made) < timedelta(minutes=70)
            assert await changed("prove_email", claimed) > timedelta(minutes=50)
            ahead = timedelta(hours=-1)  # of the database's clock
            assert await changed("rename", "Anna", age=ahead) == timedelta(0)

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
                await tx.users.register(tenant.id, Newcomer(email=Email("ann@example.com")), now())
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
            "SELECT 1 FROM auth.operators",
            "INSERT INTO auth.tenants (slug, name) VALUES ('x', 'x')",
            "UPDATE auth.users SET email = 'x@example.com'",
            "DELETE FROM auth.revisions",
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
            "SELECT hash FROM auth.passwords",
            "SELECT auth.prove_email_v1(gen_random_uuid(), 'x@example.com')",
            "UPDATE auth.refresh_tokens SET used_at = now()",
            "UPDATE auth.signing_keys SET sealed_private_key = ''",
            "UPDATE auth.tenants SET slug = 'x'",
            "INSERT INTO auth.operators (id, name, secret_hash) VALUES (gen_random_uuid(), 'x', '')",
            "SELECT auth.make_operator_v1(gen_random_uuid(), 'x', '')",
            "UPDATE auth.operators SET revoked_at = NULL",
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
        ("revisions.list_revisions_after", "revisions_recorded_in", ("10:10:", 0, "", "", 1000)),
        ("revisions.delete_expired_revisions", "revisions_expires_at", (datetime.now(UTC),)),
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
