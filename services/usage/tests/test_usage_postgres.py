"""What only a real database can show: locks, constraints, roles, plans, exact numbers."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from docuchat_common.db import load_queries
from docuchat_common.ids import uuid7
from docuchat_testkit.eventually import eventually
from docuchat_usage.quotas.domain import Hold
from docuchat_usage.quotas.errors import BudgetExhausted, HoldNotFound

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from conftest import World

    from docuchat_testkit.databases import ClonedDatabase

TENANT_TABLES = ("subscriptions", "budgets", "holds", "ledger", "outbox")


async def balance(database: ClonedDatabase, tenant: int) -> dict[str, int]:
    """Counters beside what they must equal."""
    async with database.connect() as connection:
        row = await connection.fetchrow(
            """
            SELECT b.tokens_used, b.tokens_held, b.cost_used, b.cost_held,
                   (SELECT coalesce(sum(tokens), 0)
                    FROM usage.holds WHERE tenant_id = $1 AND state = 'held') AS open_tokens,
                   (SELECT coalesce(sum(cost), 0)
                    FROM usage.holds WHERE tenant_id = $1 AND state = 'held') AS open_cost,
                   (SELECT coalesce(sum(input_tokens + output_tokens + embedding_tokens), 0)
                    FROM usage.ledger WHERE tenant_id = $1) AS booked_tokens,
                   (SELECT coalesce(sum(cost), 0) FROM usage.ledger WHERE tenant_id = $1) AS booked_cost
            FROM usage.budgets b WHERE tenant_id = $1 AND subject_type = 'tenant'
            """,
            tenant,
        )
    assert row is not None
    assert (row["tokens_used"], row["cost_used"]) == (row["booked_tokens"], row["booked_cost"])
    assert (row["tokens_held"], row["cost_held"]) == (row["open_tokens"], row["open_cost"])
    return {"used": row["tokens_used"], "held": row["tokens_held"]}


class TestConcurrency:
    async def test_of_500_at_once_exactly_n_are_admitted_and_vanished_holders_free_their_share(
        self, open_world: Callable[..., AbstractAsyncContextManager[World]], database: ClonedDatabase
    ) -> None:
        async with open_world(max_size=20) as world:
            await world.quotas.set_quota(world.tenant, None, 100_000, None)
            gate = asyncio.Semaphore(60)

            async def ask() -> Hold | None:
                async with gate:
                    try:
                        return await world.hold(1000)
                    except BudgetExhausted:
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
            await world.quotas.set_quota(world.tenant, None, 30_000, None)
            users = [uuid7() for _ in range(4)]

            async def client(user: Any) -> None:
                for _ in range(12):
                    try:
                        hold = await world.hold(1000, user_id=user, lease=timedelta(seconds=chance.choice((1, 60))))
                    except BudgetExhausted:
                        continue
                    what = chance.random()
                    try:
                        if what < 0.3:
                            await world.quotas.renew(hold.id, timedelta(seconds=60), chance.randrange(1200))
                        if what < 0.5:
                            usage = world.usage(chance.randrange(1000), user_id=user, hold_id=hold.id)
                            await asyncio.gather(*(world.ledger.book(usage) for _ in range(3)))
                        elif what < 0.7:
                            await world.quotas.release(hold.id)
                    except HoldNotFound:
                        continue

            async def time() -> None:
                for step in range(10):
                    world.clock.advance(timedelta(seconds=1))
                    await world.quotas.sweep()
                    await world.quotas.set_quota(world.tenant, users[step % 4], 20_000, None)

            await asyncio.gather(*(client(user) for user in users * 2), time())
            # Late bookings on ended leases may pass the limit, since what was spent is always booked.
            await balance(database, world.tenant)
            async with database.connect() as connection:
                wrong = await connection.fetch(
                    """
                    SELECT b.subject_id, b.tokens_used, sum(l.input_tokens + l.output_tokens) AS booked
                    FROM usage.budgets b
                    LEFT JOIN usage.ledger l ON l.tenant_id = b.tenant_id AND l.user_id::text = b.subject_id
                    WHERE b.tenant_id = $1 AND b.subject_type = 'user' GROUP BY b.id
                    HAVING b.tokens_used <> coalesce(sum(l.input_tokens + l.output_tokens), 0)
                    """,
                    world.tenant,
                )
            assert wrong == []

    async def test_a_plan_with_limits_for_users_opens_their_budgets(
        self, world: World, database: ClonedDatabase
    ) -> None:
        async with database.connect() as connection:
            await connection.execute("UPDATE usage.plans SET user_token_limit = 1500 WHERE is_default")
        await world.hold(1000)
        with pytest.raises(BudgetExhausted) as refused:
            await world.hold(1000)
        assert (refused.value.extensions["layer"], refused.value.extensions["limit"]) == ("user", "1500")
        newcomer = uuid7()
        await world.spend(900, user_id=newcomer)
        assert (await world.ledger.report(world.tenant, newcomer)).my_budget is not None

    async def test_a_budget_added_while_a_booking_waits_is_charged_too(
        self, world: World, database: ClonedDatabase
    ) -> None:
        await world.quotas.open_tenant(world.tenant)
        async with database.connect() as blocker:
            lock = blocker.transaction()
            await lock.start()
            await blocker.execute("SELECT FROM usage.budgets WHERE tenant_id = $1 FOR UPDATE", world.tenant)
            quota = asyncio.create_task(world.quotas.set_quota(world.tenant, world.user, 1000, None))
            await waiting_for_lock(database, 1)
            booking = asyncio.create_task(world.spend(400))
            await waiting_for_lock(database, 2)
            await lock.rollback()
        await asyncio.gather(quota, booking)
        report = await world.ledger.report(world.tenant, world.user)
        assert report.my_budget is not None
        assert report.my_budget.tokens.used == 400


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
        report = await world.ledger.report(world.tenant, world.user)
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
        await world.quotas.set_quota(world.tenant, None, 100, None)
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
                assert await connection.execute("UPDATE usage.budgets SET token_limit = NULL") == "UPDATE 0"

    @pytest.mark.parametrize(
        ("role", "statement"),
        [
            ("docuchat_usage", "UPDATE usage.ledger SET cost = 0"),
            ("docuchat_usage", "DELETE FROM usage.ledger"),
            ("docuchat_usage", "DELETE FROM usage.holds"),
            ("docuchat_usage", "INSERT INTO usage.prices (provider) VALUES ('*')"),
            ("docuchat_usage", "UPDATE usage.plans SET token_limit = NULL"),
            ("docuchat_usage", "UPDATE usage.subscriptions SET plan_code = 'unlimited'"),
            ("docuchat_usage", "SELECT FROM usage.outbox"),
            ("docuchat_usage_system", "UPDATE usage.prices SET input = 0"),
            ("docuchat_usage_system", "DELETE FROM usage.prices"),
            ("docuchat_usage_system", "SELECT FROM usage.ledger"),
            ("docuchat_chat", "SELECT FROM usage.ledger"),
            ("docuchat_gateway_system", "UPDATE usage.budgets SET token_limit = NULL"),
        ],
    )
    async def test_roles_have_the_least_grants(self, database: ClonedDatabase, role: str, statement: str) -> None:
        async with database.connect(role) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


class TestPlans:
    async def test_hot_statements_read_their_indexes(self, world: World, database: ClonedDatabase) -> None:
        now = datetime.now(UTC)
        async with database.connect() as admin:
            await admin.execute(
                """
                INSERT INTO usage.ledger (tenant_id, event_id, user_id, kind, provider, model, input_tokens,
                                          output_tokens, embedding_tokens, estimated, cost, occurred_at, booked_at)
                SELECT 1 + n % 200, gen_random_uuid(), gen_random_uuid(), 'chat', 'openai', 'gpt-4o-mini', 10,
                       10, 0, false, 0.001, now() - n * interval '1 minute', now()
                FROM generate_series(1, 40000) AS n
                """
            )
            await admin.execute(
                """
                INSERT INTO usage.holds (id, tenant_id, kind, model, input_tokens, tokens, cost, budget_ids, created_at,
                                         expires_at, state)
                SELECT gen_random_uuid(), 1 + n % 200, 'chat', 'm', 1, 1, 0, '{}', now(), now(),
                       CASE WHEN n % 50 = 0 THEN 'held' ELSE 'settled' END
                FROM generate_series(1, 20000) AS n
                """
            )
            await admin.execute("VACUUM ANALYZE usage.ledger")
            await admin.execute("VACUUM ANALYZE usage.holds")
        week_ago = now - timedelta(days=7)
        async with database.connect("docuchat_usage") as connection, connection.transaction():
            await connection.execute("SELECT set_config('app.tenant_id', '7', true)")
            values = {
                "tenant_id": 7, "since": week_ago, "day_ago": week_ago, "week_ago": week_ago, "period_start": week_ago,
                "kind": "chat", "input_tokens": 1, "output_tokens": 1, "provider": None, "model": "m", "now": now,
                "period_end": now, "chatbot_id": None, "key_id": None, "user_id": str(uuid7()), "announce_before": now,
                "hold_id": uuid7(), "expires_at": now,
            }  # fmt: skip
            report = await plan(connection, "ledger", "sum_ledger", values)
            assert any(node.get("Index Name") == "ledger_by_time" for node in report)
            assert not any(node["Node Type"] == "Seq Scan" for node in report)
            hold = await plan(connection, "quotas", "hold", values)
            assert any(node.get("Index Name", "").startswith("holds_open_by_") for node in hold)
            assert {node.get("Relation Name") for node in hold if node["Node Type"] == "Seq Scan"} <= {
                "prices", "budgets", "subscriptions", "plans",
            }  # fmt: skip


async def plan(
    connection: asyncpg.Connection[Any], slice_name: str, name: str, values: dict[str, Any]
) -> list[dict[str, Any]]:
    """The nodes of a statement's plan."""
    queries = load_queries(f"docuchat_usage.{slice_name}")
    arguments = queries.driver_adapter.maybe_order_params(name, values)
    statement = "EXPLAIN (FORMAT JSON) " + getattr(queries, name).sql
    (root,) = json.loads(await connection.fetchval(statement, *arguments))
    nodes, found = [root["Plan"]], []
    while nodes:
        found.append(node := nodes.pop())
        nodes.extend(node.get("Plans", []))
    return found
