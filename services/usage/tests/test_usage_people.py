"""A removed user is counted no more, and the ledger keeps what was used."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from docuchat_common.db import UnitOfWork, load_queries
from docuchat_common.exporting import Exported, Exporter
from docuchat_common.ids import TenantId, UserId, uuid7
from docuchat_common.removals import RemovedUser
from docuchat_usage.bootstrap import EXPORTED
from docuchat_usage.documents.domain import StoredDocument
from docuchat_usage.quotas.domain import Unit
from docuchat_usage.removals.service import Removals
from docuchat_usage.transaction import compose

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conftest import World

    from docuchat_testkit.databases import ClonedDatabase


@pytest.fixture
async def removals(world: World, database: ClonedDatabase) -> AsyncIterator[Removals]:
    async with database.open("usage", max_size=2) as pools:
        yield Removals(UnitOfWork(pools, compose, schema="usage"), world.clock)


async def budgets(database: ClonedDatabase, subject: object) -> dict[str, int]:
    async with database.connect() as connection:
        rows = await connection.fetch("SELECT unit, used FROM usage.budgets WHERE subject_id = $1", str(subject))
    return {row["unit"]: int(row["used"]) for row in rows}


async def limit(world: World, user: Any) -> None:
    await world.quotas.open_tenant(world.tenant)
    await world.quotas.set_quota(world.tenant, user, {Unit.TOKENS: 10_000, Unit.DOCUMENTS: 5, Unit.BYTES: 1_000})


@pytest.mark.parametrize("has_heir", [True, False])
async def test_documents_count_for_the_heir_and_the_users_own_budgets_go(
    world: World, database: ClonedDatabase, removals: Removals, has_heir: bool
) -> None:
    heir, key = UserId(uuid7()), uuid7()
    await limit(world, world.user)
    await limit(world, heir)
    await world.documents.store(StoredDocument(world.tenant, uuid7(), world.user, 100))
    await world.spend(1000)
    tenant = await budgets(database, world.tenant)
    removed = RemovedUser(TenantId(world.tenant), UserId(world.user), (key,), heir if has_heir else None)
    for _ in range(2):
        await removals.settle(removed)
    assert await budgets(database, world.user) == {} and await budgets(database, world.tenant) == tenant
    inherited = {"tokens": 0, "documents": int(has_heir), "bytes": 100 * has_heir}
    assert await budgets(database, heir) == inherited
    async with database.connect() as connection:
        assert await connection.fetchval("SELECT user_id FROM usage.ledger") == world.user, "an id, and no name"


async def test_of_an_erased_user_it_is_told_once_what_is_gone(
    world: World, database: ClonedDatabase, removals: Removals
) -> None:
    await limit(world, world.user)
    for _ in range(2):
        await removals.settle(RemovedUser(TenantId(world.tenant), UserId(world.user), is_erasure=True))
    async with database.connect() as connection:
        rows = await connection.fetch("SELECT body FROM usage.outbox WHERE type = 'user.erased.v1'")
    (said,) = [orjson.loads(row["body"])["data"] for row in rows]
    assert (said["user_id"], said["service"]) == (str(world.user), "usage")
    assert said["erased"] == {"budgets": 3} and "ledger" in said["kept"]


async def test_what_is_heard_after_the_user_is_gone_is_counted_for_the_heir_by_the_sweep(
    world: World, database: ClonedDatabase, removals: Removals
) -> None:
    """R4: the events of an upload come late, and again."""
    heir, document = UserId(uuid7()), StoredDocument(world.tenant, uuid7(), world.user, 100)
    await limit(world, heir)
    await removals.settle(RemovedUser(TenantId(world.tenant), UserId(world.user), (), heir))
    for _ in range(2):
        await world.documents.store(document)
        await world.quotas.set_quota(world.tenant, world.user, {Unit.DOCUMENTS: 5})
        await removals.sweep()
        assert (await budgets(database, heir))["documents"] == 1
        assert await budgets(database, world.user) == {}
    async with database.connect() as connection:
        assert await connection.fetchval("SELECT count(*) FROM usage.stored_documents WHERE user_id = $1", heir) == 1


async def test_what_is_told_of_a_tenant_is_all_of_its_books_and_of_a_person_the_persons_own(
    world: World, database: ClonedDatabase
) -> None:
    other, key = uuid7(), uuid7()
    await limit(world, world.user)
    for spender in ({}, {"user_id": other}, {"user_id": None, "key_id": key}):
        await world.spend(1000, **spender)

    async def told(*of: Any) -> dict[str, list[dict[str, Any]]]:
        rows: dict[str, list[dict[str, Any]]] = {file: [] for file in EXPORTED}
        async with database.open("usage", max_size=1) as pools:
            uow = UnitOfWork(pools, compose, schema="usage")
            exporter = Exporter(uow, load_queries("docuchat_usage", "exports.sql"), EXPORTED)
            async for lines in exporter.lines(Exported(TenantId(world.tenant), *of)):
                for line in lines.splitlines():
                    said = orjson.loads(line)
                    rows.get(said.get("file"), []).append(said.get("row"))
        return rows

    all_of_it, own = await told(), await told(world.user, (key,))
    assert [len(all_of_it[file]) for file in ("usage", "usage_days")] == [3, 3]
    assert {row["user_id"] for row in own["usage"]} == {str(world.user), None} and len(own["usage"]) == 2
    assert {row["subject_id"] for row in own["quotas"]} == {str(world.user)}
    assert {row["subject_type"] for row in all_of_it["quotas"]} == {"tenant", "user"}
    assert sum(Decimal(row["cost"]) for row in all_of_it["usage"]) == sum(
        Decimal(row["cost"]) for row in all_of_it["usage_days"]
    )
