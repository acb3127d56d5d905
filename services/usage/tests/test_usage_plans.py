"""Statements of usage keep to their indexes while tables grow."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg

from docuchat_common.db import load_queries
from docuchat_usage.ledger.domain import Edges

if TYPE_CHECKING:
    from conftest import World

    from docuchat_testkit.databases import ClonedDatabase


class TestPlans:
    async def test_a_report_reads_sums_and_a_sliver_of_the_ledger(self, world: World, database: ClonedDatabase) -> None:
        now = world.clock.now()
        async with database.connect() as admin:
            await admin.execute(
                """
                INSERT INTO usage.ledger (tenant_id, event_id, user_id, kind, provider, model, input_tokens,
                                          output_tokens, embedding_tokens, estimated, cost, occurred_at, booked_at)
                SELECT 7, gen_random_uuid(), gen_random_uuid(), 'chat', 'openai', 'gpt-4o-mini', 10,
                       10, 0, false, 0.001, $1::timestamptz - n * interval '1 minute', $1
                FROM generate_series(1, 30000) AS n
                """,
                now,
            )
            await admin.execute(
                """
                INSERT INTO usage.sums (tenant_id, span, starts_at, user_id, model, kind, input_tokens, output_tokens,
                                        embedding_tokens, cost)
                SELECT 1 + n % 200, s.span, date_trunc(s.span, $1::timestamptz - n * interval '1 hour', 'UTC'),
                       gen_random_uuid(), 'm', 'chat', 1, 1, 0, 0
                FROM generate_series(1, 10000) AS n CROSS JOIN (VALUES ('hour'), ('day')) AS s (span)
                """,
                now,
            )
            await admin.execute("VACUUM ANALYZE usage.ledger")
            await admin.execute("VACUUM ANALYZE usage.sums")
        day, week = Edges.of(now - timedelta(days=1)), Edges.of(now - timedelta(days=7))
        async with database.connect("docuchat_usage") as connection, connection.transaction():
            await connection.execute("SELECT set_config('app.tenant_id', '7', true)")
            values = {
                "tenant_id": 7, "day": day.begins_at, "day_hour": day.first_hour, "day_day": day.first_day,
                "week": week.begins_at, "week_hour": week.first_hour, "week_day": week.first_day,
                "period_start": now.replace(day=1, hour=0),
            }  # fmt: skip
            nodes = await plan(connection, "ledger", "sum_usage", values)
        assert {node.get("Index Name") for node in nodes} - {None} == {"ledger_by_time", "sums_unique"}
        assert not any(node["Node Type"] == "Seq Scan" for node in nodes)

    async def test_open_and_lapsed_holds_are_found_by_their_indexes(self, database: ClonedDatabase) -> None:
        async with database.connect() as admin:
            await admin.execute(
                """
                INSERT INTO usage.holds (id, tenant_id, subject_types, subject_ids, kind, input_tokens, units, amounts,
                                         budget_ids, created_at, expires_at, state)
                SELECT gen_random_uuid(), 1 + n % 200, '{}', '{}', 'chat', 1, '{}', '{}', '{}', now(), now(),
                       CASE WHEN n % 50 = 0 THEN 'held' ELSE 'settled' END
                FROM generate_series(1, 20000) AS n
                """
            )
            await admin.execute("VACUUM ANALYZE usage.holds")
            for where in ("h.tenant_id = 7 AND", ""):
                (root,) = json.loads(
                    await admin.fetchval(
                        f"EXPLAIN (FORMAT JSON) SELECT h.id FROM usage.holds h WHERE {where} h.state = 'held'"
                        " AND h.expires_at <= now() - interval '1 day'"
                    )
                )
                assert "holds_open_by_" in json.dumps(root)


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
