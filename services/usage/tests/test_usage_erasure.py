"""A deleted tenant leaves the books without people, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, cast

import pytest

from docuchat_common.db import UnitOfWork
from docuchat_common.errors import TenantGone
from docuchat_common.events.catalogue import TenantErased
from docuchat_common.ids import TenantId, uuid7
from docuchat_common.messaging.dead_letters import DeadLetterOffice
from docuchat_testkit.leftovers import rows_of
from docuchat_usage.documents.domain import StoredDocument
from docuchat_usage.tenant_erasure import make_erasure
from docuchat_usage.transaction import Tx, compose

if TYPE_CHECKING:
    from services.usage.tests.conftest import World

    from docuchat_common.erasure import TenantErasure
    from docuchat_testkit.databases import ClonedDatabase

NAMES = "user_id, key_id, visitor_id, chat_id, turn_id, document_id, hold_id"


class NoDeadLetters:
    async def discard_of(self, _: TenantId) -> int:
        return 0


@pytest.fixture
async def erasure(database: ClonedDatabase) -> AsyncIterator[TenantErasure]:
    async with database.open("usage") as pools:
        uow: UnitOfWork[Tx] = UnitOfWork(pools, compose, schema="usage")
        yield make_erasure(uow, cast(DeadLetterOffice, NoDeadLetters()))


async def use(world: World, tenant: int) -> None:
    """Rows in every table."""
    await world.hold(tenant_id=tenant)
    await world.spend(tenant_id=tenant, chat_id=uuid7(), turn_id=uuid7(), document_id=uuid7())
    await world.documents.store(StoredDocument(tenant, uuid7(), user_id=world.user, size_bytes=10))


async def test_the_books_stay_without_people_and_what_comes_late_changes_nothing(
    world: World, erasure: TenantErasure, database: ClonedDatabase
) -> None:
    tenant, other = world.tenant, world.tenant + 500
    for whose in (tenant, other):
        await use(world, whose)
    cost = "SELECT sum(cost), sum(input_tokens) FROM usage.ledger WHERE tenant_id = $1"
    async with database.connect() as administrator:
        before = await administrator.fetchrow(cost, tenant)
        of_other = await rows_of(administrator, other, "usage.")
    assert {"usage.budgets", "usage.holds", "usage.subscriptions", "usage.sums", "usage.stored_documents"} < set(
        of_other
    )

    await erasure.begin(TenantId(tenant))
    late: list[Any] = [
        world.spend(tenant_id=tenant),
        world.hold(tenant_id=tenant),
        world.documents.store(StoredDocument(tenant, uuid7(), user_id=world.user, size_bytes=10)),
    ]
    await erasure.go_on()
    late.append(world.quotas.open_tenant(tenant))
    for refused in late:
        with pytest.raises(TenantGone):
            await refused

    async with database.connect() as administrator:
        left = await rows_of(administrator, tenant, "usage.")
        assert left == {"usage.ledger": 1, "usage.erased_tenants": 1, "usage.outbox": 1}
        assert await administrator.fetchrow(cost, tenant) == before
        query = f"SELECT num_nonnulls({NAMES}) FROM usage.ledger WHERE tenant_id = $1"
        assert await administrator.fetchval(query, tenant) == 0
        assert await administrator.fetchval(query, other) > 0
        assert await rows_of(administrator, other, "usage.") == of_other
    (event,) = [event for event in await world.published() if isinstance(event, TenantErased)]
    assert event.erased["names_in_the_ledger"] == 1
    assert set(event.kept) == {"ledger", "prices", "usage stream"}
