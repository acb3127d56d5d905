"""A deleted tenant leaves nothing, whatever is under way, comes late, or stops midway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from docuchat_common.db import UnitOfWork
from docuchat_common.erasure import Erasures, TenantErasure
from docuchat_common.errors import NotFound, TenantGone, UpstreamUnavailable
from docuchat_common.events.catalogue import TenantErased, parse_event
from docuchat_common.ids import TenantId
from docuchat_common.messaging.fates import Outcome, outcome_of
from docuchat_common.messaging.outbox import Outbox
from docuchat_testkit.databases import ClonedDatabase
from docuchat_testkit.leftovers import rows_of

TENANT, OTHER = TenantId(7), TenantId(8)
ADD = """
INSERT INTO usage.stored_documents (tenant_id, document_id, seen_at)
SELECT $1, gen_random_uuid(), now() FROM generate_series(1, $2)
"""
GUARDS = """
WITH RECURSIVE of_tenants AS (
    SELECT c.oid, c.relname, n.nspname FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
    WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('auth', 'knowledge', 'chat', 'usage')
), safe AS (
    SELECT t.oid FROM of_tenants t
    JOIN pg_trigger g ON g.tgrelid = t.oid AND g.tgname = 'refuse_erased' AND g.tgenabled = 'O'
    UNION
    SELECT 'auth.tenants'::regclass::oid
    UNION
    -- its row cannot be there without one of a safe table
    SELECT f.conrelid FROM safe s JOIN pg_constraint f ON f.contype = 'f' AND f.confrelid = s.oid
    WHERE NOT EXISTS (SELECT FROM pg_attribute k
                      WHERE k.attrelid = f.conrelid AND k.attnum = ANY (f.conkey) AND NOT k.attnotnull)
)
SELECT format('%I.%I', t.nspname, t.relname) AS name FROM of_tenants t
WHERE t.oid NOT IN (SELECT s.oid FROM safe s) AND t.relname NOT IN ('outbox', 'erased_tenants')
ORDER BY 1
"""
SEEN = """
SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
WHERE c.relkind = 'r' AND n.nspname IN ('knowledge', 'chat', 'usage') AND c.relname NOT IN ('outbox', 'erased_tenants')
  AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'erasure')
"""


@dataclass(frozen=True)
class Tx:
    erasures: Erasures
    outbox: Outbox
    connection: asyncpg.Connection[Any]


@dataclass
class Books:
    """The schema of usage, with documents of two tenants to erase or to spare."""

    uow: UnitOfWork[Tx]
    database: ClonedDatabase

    async def add(self, tenant: TenantId, count: int = 1) -> None:
        async with self.uow(tenant) as tx:
            await tx.connection.execute(ADD, tenant, count)

    async def begin(self, tenant: TenantId) -> bool:
        async with self.uow.system() as tx:
            return await tx.erasures.begin(tenant)

    async def left(self, tenant: TenantId) -> dict[str, int]:
        async with self.database.connect() as administrator:
            found = await rows_of(administrator, tenant, "usage.")
        return {name: count for name, count in found.items() if name not in {"usage.outbox", "usage.erased_tenants"}}

    async def told(self) -> list[TenantErased]:
        async with self.database.connect() as administrator:
            rows = await administrator.fetch("SELECT body FROM usage.outbox ORDER BY id")
        events = [parse_event(row["body"]) for row in rows]
        return [event for event in events if isinstance(event, TenantErased)]


@pytest.fixture
async def books(database: ClonedDatabase) -> AsyncIterator[Books]:
    async with database.open("usage") as opened:
        yield Books(
            UnitOfWork(opened, lambda c, outbox, _: Tx(Erasures(c, "usage"), outbox, c), schema="usage"), database
        )


async def test_every_table_of_tenants_takes_nothing_of_a_deleted_one_and_can_be_emptied(
    database: ClonedDatabase,
) -> None:
    """A new table needs `guard_ddl` and `erasable_ddl`, or a reference to one that has them."""
    async with database.connect() as connection:
        unguarded = {row["name"] for row in await connection.fetch(GUARDS)}
        unseen = {row["name"] for row in await connection.fetch(SEEN)}
    assert unguarded == {"auth.audit_entries", "auth.revisions", "auth.tenant_receipts"}, "kept, as the receipt says"
    assert unseen == set()


async def test_what_is_under_way_ends_first_and_what_comes_later_is_refused(books: Books) -> None:
    async with books.uow(TENANT) as tx:
        await tx.connection.execute(ADD, TENANT, 1)
        assert not await books.begin(TENANT)
    assert await books.begin(TENANT)
    with pytest.raises(TenantGone):
        await books.add(TENANT)
    await books.add(OTHER)
    assert await books.begin(TENANT), "again"
    assert await books.left(TENANT) == {"usage.stored_documents": 1}


@pytest.mark.parametrize(
    ("schema", "service", "add"),
    [
        ("knowledge", "gateway", "knowledge.collections (id, tenant_id, name, is_default) VALUES ($2, $1, 'c', true)"),
        ("chat", "chat", "chat.chats (id, tenant_id, subject_type, subject_id) VALUES ($2, $1, 'user', $2)"),
    ],
)
async def test_so_is_what_is_guarded_row_by_row(database: ClonedDatabase, schema: str, service: str, add: str) -> None:
    async with database.open(service) as opened:
        uow = UnitOfWork(opened, lambda c, outbox, _: Tx(Erasures(c, schema), outbox, c), schema=schema)

        async def begin() -> bool:
            async with uow.system() as tx:
                return await tx.erasures.begin(TENANT)

        async with uow(TENANT) as tx:
            await tx.connection.execute(f"INSERT INTO {add}", TENANT, uuid4())
            assert not await begin()
        assert await begin()
        with pytest.raises(TenantGone):
            async with uow(TENANT) as tx:
                await tx.connection.execute(f"INSERT INTO {add}", TENANT, uuid4())
        async with uow(OTHER) as tx:
            await tx.connection.execute(f"INSERT INTO {add}", OTHER, uuid4())


async def test_an_erasure_that_is_stopped_goes_on_and_is_told_once(books: Books) -> None:
    await books.add(TENANT, 250)
    await books.add(OTHER, 3)
    stops = iter([0, 1, 1])
    again = []

    async def erase_outside(_: TenantId) -> dict[str, int]:
        again.append(1)
        if next(stops, 0):
            raise UpstreamUnavailable
        return {"objects": 2}

    erasure = TenantErasure(books.uow, "usage", before=[erase_outside], after=[erase_outside], batch=100)
    await erasure.begin(TENANT)
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable):
            await erasure.erase(TENANT)
    assert await books.told() == []
    for _ in range(3):
        await erasure.begin(TENANT)
        await erasure.erase(TENANT)
    (event,) = await books.told()
    assert (event.tenant_id, event.service) == (TENANT, "usage")
    assert event.erased["stored_documents"] == 250
    assert await books.left(TENANT) == {}
    assert await books.left(OTHER) == {"usage.stored_documents": 3}


async def test_processes_share_the_work_and_take_over_from_who_is_silent(books: Books) -> None:
    await books.add(TENANT, 50)
    erasures = [TenantErasure(books.uow, "usage", batch=10) for _ in range(4)]
    await erasures[0].begin(TENANT)
    await asyncio.gather(*(erasure.go_on() for erasure in erasures))
    assert len(await books.told()) == 1
    await erasures[0].begin(OTHER)
    async with books.uow.system() as tx:
        assert await tx.erasures.take() == OTHER
    await erasures[1].go_on()
    assert len(await books.told()) == 1, "somebody is about it"
    async with books.database.connect() as administrator:
        await administrator.execute("UPDATE usage.erased_tenants SET leased_until = now() - interval '1 second'")
    await erasures[1].go_on()
    assert [event.tenant_id for event in await books.told()] == [TENANT, OTHER]


async def test_nothing_is_erased_of_a_tenant_without_a_tombstone(books: Books) -> None:
    await books.add(TENANT, 2)
    async with books.uow.system() as tx:
        assert await tx.erasures.erase(TENANT, 100) == (0, False)
    assert await books.left(TENANT) == {"usage.stored_documents": 2}


def test_what_comes_late_of_a_deleted_tenant_is_acknowledged() -> None:
    assert outcome_of(TenantGone()) is Outcome.ACK
    assert outcome_of(NotFound()) is Outcome.DEAD_LETTER
