"""What holds do, on a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from docuchat_common.contracts.holds import BudgetBusy, HoldKind, HoldUnit, SubjectType
from docuchat_common.errors import QuotaExceeded
from docuchat_common.events import catalogue
from docuchat_common.ids import uuid7
from docuchat_usage.prices.domain import Price
from docuchat_usage.quotas.domain import Subject, Unit
from docuchat_usage.quotas.errors import HoldNotFound

if TYPE_CHECKING:
    from conftest import World

    from docuchat_testkit.databases import ClonedDatabase

MINUTE = timedelta(minutes=1)
DEAR = {HoldUnit.INPUT_TOKENS: 1000, HoldUnit.OUTPUT_TOKENS: 500}


class TestHolding:
    async def test_a_tenant_that_was_never_announced_works(self, world: World) -> None:
        hold = await world.hold(1000)
        assert (hold.tokens, hold.expires_at) == (1000, world.clock.now() + MINUTE)
        assert await world.counted() == (0, 1000)

    async def test_what_does_not_fit_beside_other_holds_is_busy_and_leaves_nothing_behind(self, world: World) -> None:
        await world.set_tokens(2500)
        await world.hold(1000)
        await world.hold(1000)
        with pytest.raises(BudgetBusy) as refused:
            await world.hold(1000)
        assert refused.value.code == "quota_busy"
        assert refused.value.extensions == {
            "resets_at": "2026-04-01T00:00:00+00:00", "layer": "tenant", "subject_id": str(world.tenant),
            "unit": "tokens", "limit": 2500, "used": 0, "held": 2000, "remaining": 500,
        }  # fmt: skip
        assert refused.value.retry_after is not None
        assert refused.value.retry_after <= timedelta(seconds=5)
        assert await world.counted() == (0, 2000)
        assert [event for event in await world.published() if isinstance(event, catalogue.QuotaExceeded)] == []

    async def test_used_up_means_wait_for_the_reset(self, world: World) -> None:
        await world.set_tokens(1000)
        await world.spend(900)
        with pytest.raises(QuotaExceeded) as refused:
            await world.hold(200)
        assert refused.value.code == "quota_exceeded"
        assert refused.value.retry_after == datetime(2026, 4, 1, tzinfo=UTC) - world.clock.now()

    async def test_all_layers_must_fit_or_none_is_charged(self, world: World) -> None:
        await world.set_tokens(1500, world.user)
        await world.hold(1000)
        with pytest.raises(BudgetBusy) as refused:
            await world.hold(1000)
        assert refused.value.extensions["layer"] == "user"
        assert await world.counted() == (0, 1000)
        await world.hold(1000, subjects={SubjectType.USER: uuid7()})
        assert await world.counted() == (0, 2000)

    async def test_money_is_a_limit_too(self, world: World) -> None:
        await world.quotas.open_tenant(world.tenant)
        await world.quotas.set_quota(world.tenant, None, {Unit.COST: Decimal("0.01")})
        await world.hold(model="gpt-4o", amounts=DEAR)
        with pytest.raises(BudgetBusy) as refused:
            await world.hold(model="gpt-4o", amounts=DEAR)
        assert (refused.value.extensions["unit"], refused.value.extensions["held"]) == ("cost", 0.0075)

    @pytest.mark.parametrize("subject", list(SubjectType))
    async def test_every_subject_of_a_hold_is_asked(
        self, world: World, database: ClonedDatabase, subject: SubjectType
    ) -> None:
        await world.quotas.open_tenant(world.tenant)
        async with database.connect() as connection:
            await connection.execute("INSERT INTO usage.plan_limits VALUES ('standard', $1, 'tokens', 1500)", subject)
        own = {subject: uuid7()}
        await world.spend(1000, hold_id=(await world.hold(1000, subjects=own)).id, user_id=None)
        with pytest.raises(QuotaExceeded) as refused:
            await world.hold(1000, subjects=own)
        assert (refused.value.extensions["layer"], refused.value.extensions["used"]) == (Subject(subject).layer, 1000)
        await world.hold(1000, subjects={subject: uuid7()})

    async def test_a_hold_is_priced_by_the_version_in_force(self, world: World) -> None:
        for days, dollars in ((-10, 4), (-1, 7), (5, 900)):
            price = Decimal(dollars)
            await world.prices.set_price(
                Price(0, "openai", "m", price, price, price, world.clock.now() + timedelta(days=days))
            )
        await world.hold(model="m", amounts={HoldUnit.INPUT_TOKENS: 1_000_000})
        assert (await world.report()).budgets[Subject.TENANT][Unit.COST].held == 7

    async def test_a_hold_of_a_local_provider_costs_nothing(self, world: World) -> None:
        await world.hold(provider="wordllama", model="anything", kind=HoldKind.EMBEDDING)
        assert (await world.report()).budgets[Subject.TENANT][Unit.COST].held == 0

    async def test_messages_are_held_and_used_when_their_hold_is_settled(self, world: World) -> None:
        await world.quotas.open_tenant(world.tenant)
        await world.quotas.set_quota(world.tenant, None, {Unit.MESSAGES: 2})
        asked = {HoldUnit.INPUT_TOKENS: 10, HoldUnit.MESSAGES: 1}
        settled, late = [await world.hold(amounts=asked, lease=lease) for lease in (3 * MINUTE, MINUTE)]
        with pytest.raises(BudgetBusy):
            await world.hold(amounts=asked)
        world.clock.advance(MINUTE)
        await world.spend(10, hold_id=settled.id)
        await world.spend(10, hold_id=late.id)
        with pytest.raises(QuotaExceeded) as refused:
            await world.hold(amounts=asked)
        assert (refused.value.extensions["unit"], refused.value.extensions["used"]) == ("messages", 2)

    async def test_exactly_n_are_admitted_at_once(self, world: World) -> None:
        await world.set_tokens(10_000)
        outcomes = await asyncio.gather(*(world.hold(1000) for _ in range(60)), return_exceptions=True)
        assert sum(isinstance(outcome, BudgetBusy) for outcome in outcomes) == 50
        assert await world.counted() == (0, 10_000)

    async def test_an_ended_lease_does_not_block_even_without_a_sweep(self, world: World) -> None:
        await world.set_tokens(1000)
        await world.hold(1000)
        world.clock.advance(MINUTE)
        assert await world.counted() == (0, 0)
        await world.hold(1000)
        assert await world.counted() == (0, 1000)

    async def test_the_sweep_gives_ended_leases_back_once(self, world: World) -> None:
        for _ in range(3):
            await world.hold(1000)
        late = await world.hold(500, lease=timedelta(minutes=5))
        world.clock.advance(MINUTE)
        assert [await world.quotas.sweep(), await world.quotas.sweep()] == [3, 0]
        assert await world.counted() == (0, late.tokens)

    async def test_a_hold_shrinks_but_never_grows(self, world: World) -> None:
        hold = await world.hold(1000)
        world.clock.advance(MINUTE / 2)
        renewed = await world.quotas.renew(hold.id, MINUTE, 850)
        assert (renewed.tokens, renewed.expires_at) == (850, world.clock.now() + MINUTE)
        assert (await world.quotas.renew(hold.id, MINUTE, 5000)).tokens == 850
        assert (await world.quotas.renew(hold.id, timedelta(seconds=1), None)).expires_at == renewed.expires_at
        assert await world.counted() == (0, 850)
        await world.spend(850, hold_id=hold.id)
        assert await world.counted() == (850, 0)

    async def test_a_shrunk_hold_gives_money_back(self, world: World) -> None:
        hold = await world.hold(model="gpt-4o", amounts=DEAR)
        await world.quotas.renew(hold.id, MINUTE, 1100)
        assert (await world.report()).budgets[Subject.TENANT][Unit.COST].held == Decimal("0.0035")

    async def test_a_released_hold_is_gone(self, world: World) -> None:
        hold = await world.hold(1000)
        await world.quotas.release(hold.id)
        await world.quotas.release(hold.id)
        assert await world.counted() == (0, 0)
        with pytest.raises(HoldNotFound):
            await world.quotas.renew(hold.id, MINUTE, None)

    async def test_an_unknown_hold_cannot_be_renewed(self, world: World) -> None:
        with pytest.raises(HoldNotFound):
            await world.quotas.renew(uuid7(), MINUTE, None)

    async def test_closed_holds_are_forgotten_after_a_week(self, world: World) -> None:
        closed = await world.hold()
        await world.quotas.release(closed.id)
        world.clock.advance(timedelta(days=8))
        open_hold = await world.hold()
        assert [await world.quotas.purge(), await world.quotas.purge()] == [1, 0]
        await world.quotas.renew(open_hold.id, MINUTE, None)
