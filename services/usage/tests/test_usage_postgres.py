"""What only a real database can show: locks, constraints, roles, exact numbers."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from docuchat_common.contracts.holds import BudgetBusy, SubjectType
from docuchat_common.errors import QuotaExceeded
from docuchat_common.ids import uuid7
from docuchat_testkit.eventually import eventually
from docuchat_usage.documents.domain import StoredDocument
from docuchat_usage.quotas.domain import Hold, Subject, Unit
from docuchat_usage.quotas.errors import HoldNotFound

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from conftest import World

    from docuchat_testkit.databases import ClonedDatabase

TENANT_TABLES = (
    "subscriptions",
    "budgets",
    "holds",
    "ledger",
    "outbox",
    "erased_tenants",
    "removed_users",
    "sums",
    "stored_documents",
    "idempotent_requests",
)


async def balance(database: ClonedDatabase, tenant: int) -> dict[str, int]:
    """Counters beside what they must equal."""
    async with database.connect() as connection:
        rows = await connection.fetch(
            """
            SELECT b.unit, b.used, b.held,
                   (SELECT coalesce(sum(a.amount), 0)
                    FROM usage.holds h CROSS JOIN unnest(h.units, h.amounts) AS a (unit, amount)
                    WHERE h.tenant_id = $1 AND h.state = 'held' AND a.unit = b.unit) AS open,
                   (SELECT coalesce(sum(
                        CASE b.unit WHEN 'cost' THEN l.cost ELSE l.input_tokens + l.output_tokens END), 0)
                    FROM usage.ledger l WHERE l.tenant_id = $1) AS booked,
                   (SELECT coalesce(sum(
                        CASE b.unit WHEN 'cost' THEN s.cost ELSE s.input_tokens + s.output_tokens END), 0)
                    FROM usage.sums s WHERE s.tenant_id = $1 AND s.span = 'day') AS summed
            FROM usage.budgets b
            WHERE b.tenant_id = $1 AND b.subject_type = 'tenant' AND b.unit IN ('tokens', 'cost')
            """,
            tenant,
        )
    for row in rows:
        assert (row["used"], row["held"]) == (row["booked"], row["open"])
        assert row["booked"] == row["summed"]
    (tokens,) = [row for row in rows if row["unit"] == "tokens"]
    return {"used": int(tokens["used"]), "held": int(tokens["held"])}


async def deadlocks(database: ClonedDatabase) -> int:
    """How often Postgres has broken up a deadlock in this database."""
    async with database.connect() as connection:
        count: int = await connection.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
    return count


class TestConcurrency:
    async def test_of_500_at_once_exactly_n_are_admitted_and_vanished_holders_free_their_share(
        self, open_world: Callable[..., AbstractAsyncContextManager[World]], database: ClonedDatabase
    ) -> None:
        async with open_world(max_size=20) as world:
            await world.set_tokens(100_000)
            gate = asyncio.Semaphore(60)

            async def ask() -> Hold | None:
                async with gate:
                    try:
                        return await world.hold(1000)
                    except (BudgetBusy, QuotaExceeded):
                        return None

            holds = [hold for hold in await asyncio.gather(*(ask() for _ in range(500))) if hold is not None]
            assert len(holds) == 100
            assert await balance(database, world.tenant) == {"used": 0, "held": 100_000}
            for hold in holds[:50]:
                await world.spend(1000, hold_id=hold.id)
            world.clock.advance(timedelta(seconds=60))
            again = [hold for hold in await asyncio.gather(*(ask() for _ in range(80))) if hold is not None]
            assert len(again) == 50
            assert await balance(database, world.tenant) == {"used": 50_000, "held": 50_000}

    async def test_everything_at_once_leaves_the_books_balanced(
        self, open_world: Callable[..., AbstractAsyncContextManager[World]], database: ClonedDatabase
    ) -> None:
        chance = random.Random(7)
        async with open_world(max_size=16) as world:
            await world.set_tokens(30_000)
            users = [uuid7() for _ in range(4)]

            async def client(user: Any) -> None:
                for _ in range(12):
                    try:
                        lease = timedelta(seconds=chance.choice((1, 60)))
                        hold = await world.hold(1000, subjects={SubjectType.USER: user}, lease=lease)
                    except (BudgetBusy, QuotaExceeded):
                        continue
                    what = chance.random()
                    try:
                        if what < 0.3:
                            await world.quotas.renew(hold.id, timedelta(seconds=60), chance.randrange(1200))
                        if what < 0.5:
                            usage = world.usage(chance.randrange(1000), user_id=user, hold_id=hold.id)
                            await asyncio.gather(*(world.book(usage) for _ in range(3)))
                        elif what < 0.7:
                            await world.quotas.release(hold.id)
                    except HoldNotFound:
                        continue

            async def time() -> None:
                for step in range(10):
                    world.clock.advance(timedelta(seconds=1))
                    await world.quotas.sweep()
                    await world.set_tokens(20_000, users[step % 4])

            await asyncio.gather(*(client(user) for user in users * 2), time())
            # Late bookings on ended leases may pass the limit, since what was spent is always booked.
            await balance(database, world.tenant)
            async with database.connect() as connection:
                wrong = await connection.fetch(
                    """
                    SELECT b.subject_id, b.used, sum(l.input_tokens + l.output_tokens) AS booked
                    FROM usage.budgets b
                    LEFT JOIN usage.ledger l ON l.tenant_id = b.tenant_id AND l.user_id::text = b.subject_id
                    WHERE b.tenant_id = $1 AND b.subject_type = 'user' AND b.unit = 'tokens' GROUP BY b.id
                    HAVING b.used <> coalesce(sum(l.input_tokens + l.output_tokens), 0)
                    """,
                    world.tenant,
                )
            assert wrong == []
        assert await deadlocks(database) == 0  # counted when the sessions have ended

    async def test_a_plan_with_limits_for_users_opens_their_budgets(
        self, world: World, database: ClonedDatabase
    ) -> None:
        async with database.connect() as connection:
            await connection.execute("INSERT INTO usage.plan_limits VALUES ('standard', 'user', 'tokens', 1500)")
        await world.hold(1000)
        with pytest.raises(BudgetBusy) as refused:
            await world.hold(1000)
        assert (refused.value.extensions["layer"], refused.value.extensions["limit"]) == ("user", 1500)
        newcomer = uuid7()
        await world.spend(900, user_id=newcomer)
        assert (await world.report(newcomer)).budgets[Subject.USER][Unit.TOKENS].used == 900

    async def test_a_budget_added_while_a_booking_waits_is_charged_too(
        self, world: World, database: ClonedDatabase
    ) -> None:
        await world.quotas.open_tenant(world.tenant)
        async with database.connect() as blocker:
            lock = blocker.transaction()
            await lock.start()
            await blocker.execute("SELECT FROM usage.budgets WHERE tenant_id = $1 FOR UPDATE", world.tenant)
            quota = asyncio.create_task(world.quotas.set_quota(world.tenant, world.user, {Unit.TOKENS: 1000}))
            await waiting_for_lock(database, 1)
            booking = asyncio.create_task(world.spend(400))
            await waiting_for_lock(database, 2)
            await lock.rollback()
        await asyncio.gather(quota, booking)
        assert (await world.report()).budgets[Subject.USER][Unit.TOKENS].used == 400


TURN = "SELECT id FROM usage.budgets WHERE tenant_id = $1 AND subject_type = 'tenant' AND unit = 'tokens'"
HOLDS = "SELECT id FROM usage.holds WHERE tenant_id = $1"
USERS = "SELECT id FROM usage.budgets WHERE tenant_id = $1 AND subject_type = 'user'"


class TestLockOrder:
    """Hold one row, let a call run into it, and look at what the call owns by then."""

    @pytest.mark.parametrize("call", ["hold", "book", "renew", "release", "settle", "set_limits", "store"])
    async def test_whoever_waits_for_the_tenant_owns_nothing(
        self, world: World, database: ClonedDatabase, call: str
    ) -> None:
        hold = await self.prepare(world)
        async with database.connect() as blocker, blocker.transaction():
            await blocker.execute(TURN + " FOR UPDATE", world.tenant)
            task = asyncio.create_task(self.run(world, call, hold))
            await waiting_for_lock(database, 1)
            assert [await self.free(database, rows, world.tenant) for rows in (HOLDS, USERS)] == [1, 1]
        await task

    @pytest.mark.parametrize(
        ("call", "rows"),
        [
            ("hold", HOLDS), ("book", HOLDS), ("renew", HOLDS), ("release", HOLDS), ("store", HOLDS),
            ("settle", HOLDS), ("settle", USERS),
            ("hold", USERS), ("book", USERS), ("renew", USERS), ("release", USERS), ("set_limits", USERS),
        ],
    )  # fmt: skip
    async def test_whoever_waits_for_another_row_has_the_tenants_turn(
        self, world: World, database: ClonedDatabase, call: str, rows: str
    ) -> None:
        hold = await self.prepare(world)
        if (call, rows) == ("hold", HOLDS):
            world.clock.advance(timedelta(minutes=2))  # a new hold closes those that have lapsed
        async with database.connect() as blocker, blocker.transaction():
            await blocker.execute(rows + " FOR UPDATE", world.tenant)
            task = asyncio.create_task(self.run(world, call, hold))
            await waiting_for_lock(database, 1)
            assert await self.free(database, TURN, world.tenant) == 0
        await task

    async def test_the_sweep_passes_over_a_tenant_that_is_being_counted(
        self, world: World, database: ClonedDatabase
    ) -> None:
        await self.prepare(world)
        world.clock.advance(timedelta(minutes=2))
        async with database.connect() as blocker, blocker.transaction():
            await blocker.execute(TURN + " FOR UPDATE", world.tenant)
            assert await world.quotas.sweep() == 0
        assert await world.quotas.sweep() == 1

    @staticmethod
    async def prepare(world: World) -> Hold:
        await world.set_tokens(10_000, world.user)
        return await world.hold(1000)

    @staticmethod
    async def run(world: World, call: str, hold: Hold) -> None:
        match call:
            case "hold":
                await world.hold(10)
            case "book":
                await world.spend(10, hold_id=hold.id)
            case "renew":
                await world.quotas.renew(hold.id, timedelta(seconds=60), 500)
            case "release":
                await world.quotas.release(hold.id)
            case "settle":
                await world.quotas.settle(hold.id)
            case "set_limits":
                await world.set_tokens(20_000, world.user)
            case _:
                await world.documents.store(StoredDocument(world.tenant, uuid7(), world.user, 10, hold_id=hold.id))

    @staticmethod
    async def free(database: ClonedDatabase, rows: str, tenant: int) -> int:
        """How many of these rows nobody has locked."""
        async with database.connect() as connection:
            return len(await connection.fetch(rows + " FOR UPDATE SKIP LOCKED", tenant))


async def waiting_for_lock(database: ClonedDatabase, count: int) -> None:
    async with database.connect() as connection:

        async def enough() -> bool:
            blocked = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return bool(blocked >= count)

        await eventually(enough)


class TestConstraints:
    @pytest.mark.parametrize("column", ["input", "output", "embedding"])
    async def test_a_negative_price_is_refused_by_the_database(self, database: ClonedDatabase, column: str) -> None:
        amounts = {"input": 1, "output": 1, "embedding": 1, column: -1}
        async with database.connect() as connection:
            with pytest.raises(asyncpg.CheckViolationError) as refused:
                await connection.execute(
                    "INSERT INTO usage.prices (provider, model, input, output, embedding, valid_from)"
                    " VALUES ('*', 'm', $1, $2, $3, now())",
                    *amounts.values(),
                )
        assert refused.value.constraint_name == f"prices_{column}_not_negative"

    async def test_costs_are_exact(self, world: World, database: ClonedDatabase) -> None:
        for _ in range(7):
            await world.spend(input_tokens=1, output_tokens=1)
        async with database.connect() as connection:
            costs = await connection.fetch("SELECT cost, price_id FROM usage.ledger")
        assert {row["cost"] for row in costs} == {Decimal("0.00000075")}
        assert all(row["price_id"] is not None for row in costs)
        report = await world.report()
        assert report.tenant.period.cost == Decimal("0.00000525")

    async def test_the_seeded_prices_are_those_of_the_public_lists(self, database: ClonedDatabase) -> None:
        async with database.connect() as connection:
            rows = await connection.fetch("SELECT provider, model, input, output, embedding FROM usage.prices")
        prices = {(row["provider"], row["model"]): (row["input"], row["output"], row["embedding"]) for row in rows}
        assert prices["*", "gpt-4o-mini*"][:2] == (Decimal("0.15"), Decimal("0.6"))
        assert prices["*", "text-embedding-3-small"][2] == Decimal("0.02")
        assert prices["*", "text-embedding-3-large"][2] == Decimal("0.13")
        assert set(prices["wordllama", "*"]) == set(prices["*", "extractive*"]) == {0}
        assert ("*", "*") in prices


class TestRoles:
    async def test_every_tenant_table_forces_row_level_security(self, database: ClonedDatabase) -> None:
        async with database.connect() as connection:
            rows = await connection.fetch(
                """
                SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS forced
                FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
                WHERE c.relnamespace = 'usage'::regnamespace AND c.relkind = 'r'
                """
            )
        assert {row["relname"]: row["forced"] for row in rows} == dict.fromkeys(TENANT_TABLES, True)

    async def test_a_tenant_sees_its_own_rows_and_nobody_sees_any_without_a_tenant(
        self, world: World, database: ClonedDatabase
    ) -> None:
        await world.set_tokens(100)
        await world.hold(10)
        await world.spend(90)
        async with database.connect("docuchat_usage") as connection:
            for tenant, sees in (("", False), (str(world.tenant + 1), False), (str(world.tenant), True)):
                async with connection.transaction():
                    await connection.execute("SELECT set_config('app.tenant_id', $1, true)", tenant)
                    counts = [
                        await connection.fetchval("SELECT count(*) FROM usage." + table)
                        for table in ("subscriptions", "budgets", "holds", "ledger")
                    ]
                    assert all(counts) if sees else not any(counts)

    async def test_a_tenant_cannot_write_for_another(self, world: World, database: ClonedDatabase) -> None:
        await world.quotas.open_tenant(world.tenant)
        async with database.connect("docuchat_usage") as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with connection.transaction():
                    await connection.execute("SELECT set_config('app.tenant_id', '1', true)")
                    await connection.execute(
                        "INSERT INTO usage.subscriptions (tenant_id, plan_code) VALUES (2, 'unlimited')"
                    )
            async with connection.transaction():
                await connection.execute("SELECT set_config('app.tenant_id', '1', true)")
                assert await connection.execute("UPDATE usage.budgets SET amount_limit = NULL") == "UPDATE 0"

    @pytest.mark.parametrize(
        ("role", "statement"),
        [
            ("docuchat_usage", "UPDATE usage.ledger SET cost = 0"),
            ("docuchat_usage", "DELETE FROM usage.ledger"),
            ("docuchat_usage", "DELETE FROM usage.holds"),
            ("docuchat_usage", "INSERT INTO usage.prices (provider) VALUES ('*')"),
            ("docuchat_usage", "UPDATE usage.plan_limits SET amount = 0"),
            ("docuchat_usage", "UPDATE usage.subscriptions SET plan_code = 'unlimited'"),
            ("docuchat_usage", "SELECT FROM usage.outbox"),
            ("docuchat_usage_system", "UPDATE usage.prices SET input = 0"),
            ("docuchat_usage_system", "DELETE FROM usage.prices"),
            ("docuchat_usage_system", "UPDATE usage.ledger SET cost = 0"),
            ("docuchat_chat", "SELECT FROM usage.ledger"),
            ("docuchat_gateway_system", "UPDATE usage.budgets SET amount_limit = NULL"),
        ],
    )
    async def test_roles_have_the_least_grants(self, database: ClonedDatabase, role: str, statement: str) -> None:
        async with database.connect(role) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
