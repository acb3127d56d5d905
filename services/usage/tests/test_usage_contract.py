"""What the use cases do, on a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY

from docuchat_common.events.catalogue import QuotaExceeded, QuotaThreshold
from docuchat_common.ids import uuid7
from docuchat_usage.prices.domain import Price
from docuchat_usage.prices.errors import PriceExists, PriceInvalid
from docuchat_usage.quotas.domain import HoldState, Kind
from docuchat_usage.quotas.errors import BudgetExhausted, HoldNotFound

if TYPE_CHECKING:
    from conftest import World

MINUTE = timedelta(minutes=1)


class TestHolding:
    async def test_a_tenant_that_was_never_announced_works(self, world: World) -> None:
        hold = await world.hold(1000)
        assert (hold.tokens, hold.expires_at) == (1000, world.clock.now() + MINUTE)
        assert await world.counted() == (0, 1000)

    async def test_what_does_not_fit_is_refused_and_leaves_nothing_behind(self, world: World) -> None:
        await world.quotas.set_quota(world.tenant, None, 2500, None)
        await world.hold(1000)
        await world.hold(1000)
        with pytest.raises(BudgetExhausted) as refused:
            await world.hold(1000)
        assert refused.value.extensions == {
            "resets_at": "2026-04-01T00:00:00+00:00", "layer": "tenant", "subject_id": str(world.tenant),
            "unit": "tokens", "limit": "2500", "used": "0", "held": "2000", "remaining": "500",
        }  # fmt: skip
        assert refused.value.retry_after == MINUTE
        assert await world.counted() == (0, 2000)

    async def test_used_up_means_wait_for_the_reset(self, world: World) -> None:
        await world.quotas.set_quota(world.tenant, None, 1000, None)
        await world.spend(900)
        with pytest.raises(BudgetExhausted) as refused:
            await world.hold(200)
        assert refused.value.retry_after == datetime(2026, 4, 1, tzinfo=UTC) - world.clock.now()

    async def test_all_layers_must_fit_or_none_is_charged(self, world: World) -> None:
        await world.quotas.set_quota(world.tenant, world.user, 1500, None)
        await world.hold(1000)
        with pytest.raises(BudgetExhausted) as refused:
            await world.hold(1000)
        assert refused.value.extensions["layer"] == "user"
        assert await world.counted() == (0, 1000)
        await world.hold(1000, user_id=uuid7())
        assert await world.counted() == (0, 2000)

    async def test_money_is_a_limit_too(self, world: World) -> None:
        await world.quotas.set_quota(world.tenant, None, None, Decimal("0.01"))
        await world.hold(model="gpt-4o", input_tokens=1000, max_output_tokens=500)
        with pytest.raises(BudgetExhausted) as refused:
            await world.hold(model="gpt-4o", input_tokens=1000, max_output_tokens=500)
        assert (refused.value.extensions["unit"], refused.value.extensions["held"]) == ("cost", "0.0075")

    async def test_exactly_n_are_admitted_at_once(self, world: World) -> None:
        await world.quotas.set_quota(world.tenant, None, 10_000, None)
        outcomes = await asyncio.gather(*(world.hold(1000) for _ in range(60)), return_exceptions=True)
        assert sum(isinstance(outcome, BudgetExhausted) for outcome in outcomes) == 50
        assert await world.counted() == (0, 10_000)

    async def test_an_ended_lease_does_not_block_even_without_a_sweep(self, world: World) -> None:
        await world.quotas.set_quota(world.tenant, None, 1000, None)
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
        hold = await world.hold(model="gpt-4o", input_tokens=1000, max_output_tokens=500)
        await world.quotas.renew(hold.id, MINUTE, 1100)
        budget = (await world.ledger.report(world.tenant, world.user)).budget
        assert budget is not None
        assert budget.cost.held == Decimal("0.0035")

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
        closed, open_hold = await world.hold(), await world.hold(lease=timedelta(days=30))
        await world.quotas.release(closed.id)
        world.clock.advance(timedelta(days=8))
        assert [await world.quotas.purge(), await world.quotas.purge()] == [1, 0]
        await world.quotas.renew(open_hold.id, MINUTE, None)


class TestBooking:
    async def test_settling_replaces_the_hold_by_what_was_used(self, world: World) -> None:
        hold = await world.hold(1000)
        booking = await world.ledger.book(world.usage(300, hold_id=hold.id))
        assert booking is not None
        assert booking.hold_state is HoldState.HELD
        assert await world.counted() == (300, 0)

    async def test_an_event_is_booked_once(self, world: World) -> None:
        hold = await world.hold(1000)
        usage = world.usage(300, hold_id=hold.id)
        assert await world.ledger.book(usage) is not None
        assert await world.ledger.book(usage) is None
        assert await world.counted() == (300, 0)

    async def test_tokens_are_booked_when_the_hold_is_long_gone(self, world: World) -> None:
        hold = await world.hold(1000)
        world.clock.advance(2 * MINUTE)
        await world.quotas.sweep()
        booking = await world.ledger.book(world.usage(1200, hold_id=hold.id))
        assert booking is not None
        assert booking.hold_state is HoldState.EXPIRED
        assert await world.counted() == (1200, 0)

    async def test_tokens_are_booked_without_a_hold_and_for_an_unseen_tenant(self, world: World) -> None:
        await world.spend(700, hold_id=uuid7())
        await world.spend(300)
        assert await world.counted() == (1000, 0)

    async def test_another_tenants_hold_is_not_closed(self, world: World) -> None:
        hold = await world.hold(1000)
        await world.spend(100, tenant_id=world.tenant + 500_000, hold_id=hold.id)
        assert await world.counted() == (0, 1000)

    async def test_two_calls_on_one_hold_close_it_once(self, world: World) -> None:
        hold = await world.hold(1000)
        await world.spend(300, hold_id=hold.id)
        await world.spend(200, hold_id=hold.id)
        assert await world.counted() == (500, 0)

    async def test_unknown_models_have_a_price_and_are_counted(self, world: World) -> None:
        before = REGISTRY.get_sample_value("docuchat_usage_unpriced_total", {"kind": "chat"}) or 0
        booking = await world.ledger.book(world.usage(model="m-of-nobody", input_tokens=1, output_tokens=1))
        assert booking is not None
        assert (booking.cost, booking.price_is_fallback) == (Decimal("0.000004"), True)
        assert (REGISTRY.get_sample_value("docuchat_usage_unpriced_total", {"kind": "chat"}) or 0) == before + 1

    @pytest.mark.parametrize(
        ("provider", "model", "cost"),
        [
            ("openai", "gpt-4o-mini-2024-07-18", "0.15"),
            ("openai", "gpt-4o-2024-08-06", "2.5"),
            ("openai", "gpt-4o-2024-05-13", "7"),
            ("vllm", "gpt-4o", "0.5"),
            ("openai", "a-model-of-nobody", "1"),
        ],
    )
    async def test_the_most_specific_price_is_chosen(self, world: World, provider: str, model: str, cost: str) -> None:
        for own, name, amount in (("*", "gpt-4o-2024-05-13", "7"), ("vllm", "*", "0.5")):
            dollars = Decimal(amount)
            await world.prices.set_price(Price(0, own, name, dollars, dollars, dollars, world.clock.now()))
        booking = await world.ledger.book(
            world.usage(provider=provider, model=model, input_tokens=1_000_000, output_tokens=0)
        )
        assert booking is not None
        assert booking.cost == Decimal(cost)

    async def test_local_models_are_free(self, world: World) -> None:
        for model in ("wordllama-256", "extractive"):
            booking = await world.ledger.book(world.usage(provider="local", model=model))
            assert booking is not None
            assert (booking.cost, booking.price_is_fallback) == (0, False)

    async def test_a_call_is_priced_by_its_own_day(self, world: World) -> None:
        def dearer(days: int, amount: str) -> Price:
            valid_from = world.clock.now() + timedelta(days=days)
            return Price(0, "*", "gpt-4o-mini*", Decimal(amount), Decimal(amount), Decimal(amount), valid_from)

        await world.prices.set_price(dearer(-1, "2"))
        await world.prices.set_price(dearer(1, "4"))
        week_ago = world.clock.now() - timedelta(days=7)
        costs = []
        for changes in ({"occurred_at": week_ago}, {}):
            booking = await world.ledger.book(world.usage(input_tokens=1, output_tokens=0, **changes))
            assert booking is not None
            costs.append(booking.cost)
        assert costs == [Decimal("0.00000015"), Decimal("0.000002")]

    async def test_prices_are_never_changed_and_never_negative(self, world: World) -> None:
        price = Price(0, "*", "m", Decimal(1), Decimal(1), Decimal(1), world.clock.now())
        await world.prices.set_price(price)
        with pytest.raises(PriceExists):
            await world.prices.set_price(price)
        with pytest.raises(PriceInvalid):
            await world.prices.set_price(Price(0, "*", "n", Decimal(-1), Decimal(1), Decimal(1), world.clock.now()))

    async def test_a_budget_opened_later_knows_what_was_used_before(self, world: World) -> None:
        await world.spend(400)
        await world.quotas.set_quota(world.tenant, world.user, 1000, None)
        report = await world.ledger.report(world.tenant, world.user)
        assert report.my_budget is not None
        assert (report.my_budget.tokens.used, report.my_budget.tokens.remaining) == (400, 600)


class TestPeriods:
    async def test_counters_roll_over_at_the_month_and_holds_stay(self, world: World) -> None:
        await world.quotas.set_quota(world.tenant, None, 1000, None)
        world.clock.moment = datetime(2026, 3, 31, 23, 59, 30, tzinfo=UTC)
        await world.spend(600)
        hold = await world.hold(400)
        world.clock.moment = datetime(2026, 4, 1, 0, 0, 10, tzinfo=UTC)
        assert await world.counted() == (0, 400)
        await world.hold(600)
        assert await world.counted() == (0, 1000)
        await world.spend(300, hold_id=hold.id)
        assert await world.counted() == (300, 600)

    async def test_a_call_of_last_month_that_arrives_late_does_not_count_in_this_one(self, world: World) -> None:
        world.clock.moment = datetime(2026, 4, 1, 0, 0, 10, tzinfo=UTC)
        await world.spend(600, occurred_at=datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC))
        report = await world.ledger.report(world.tenant, world.user)
        assert await world.counted() == (0, 0)
        assert (report.tenant.last_24h.total_tokens, report.tenant.period.total_tokens) == (600, 0)

    async def test_thresholds_begin_again_with_the_month(self, world: World) -> None:
        await world.quotas.set_quota(world.tenant, None, 1000, None)
        await world.spend(600)
        world.clock.moment = datetime(2026, 4, 2, tzinfo=UTC)
        await world.spend(600)
        announced = [event for event in await world.published() if isinstance(event, QuotaThreshold)]
        assert [(event.percent, event.period_start.month) for event in announced] == [(50, 3), (50, 4)]


class TestAnnouncing:
    async def test_each_threshold_once(self, world: World) -> None:
        await world.quotas.set_quota(world.tenant, None, 1000, None)
        for tokens in (490, 20, 10, 440, 30, 20, 500):
            await world.spend(tokens)
        announced = [event for event in await world.published() if isinstance(event, QuotaThreshold)]
        assert [(event.percent, event.used, event.unit, event.subject_type) for event in announced] == [
            (50, "510", "tokens", "tenant"), (80, "960", "tokens", "tenant"), (95, "960", "tokens", "tenant"),
            (100, "1010", "tokens", "tenant"),
        ]  # fmt: skip
        assert {event.limit for event in announced} == {"1000"}

    async def test_thresholds_of_money(self, world: World) -> None:
        await world.quotas.set_quota(world.tenant, None, None, Decimal("0.0001"))
        await world.spend(input_tokens=600, output_tokens=0)
        announced = [event for event in await world.published() if isinstance(event, QuotaThreshold)]
        assert [(event.percent, event.used, event.limit, event.unit) for event in announced] == [
            (50, "0.00009", "0.0001", "cost"), (80, "0.00009", "0.0001", "cost"),
        ]  # fmt: skip

    async def test_a_raised_limit_announces_anew(self, world: World) -> None:
        await world.quotas.set_quota(world.tenant, None, 1000, None)
        await world.spend(850)
        await world.quotas.set_quota(world.tenant, None, 2000, None)
        await world.spend(200)
        announced = [event for event in await world.published() if isinstance(event, QuotaThreshold)]
        assert [(event.percent, event.limit) for event in announced] == [(50, "1000"), (80, "1000"), (50, "2000")]

    async def test_refusals_are_announced_once_an_hour(self, world: World) -> None:
        refused = {"outcome": "refused", "subject": "tenant"}
        before = REGISTRY.get_sample_value("docuchat_holds_total", refused) or 0
        await world.quotas.set_quota(world.tenant, None, 500, None)
        for _ in range(3):
            with pytest.raises(BudgetExhausted):
                await world.hold(1000)
        world.clock.advance(timedelta(minutes=61))
        with pytest.raises(BudgetExhausted):
            await world.hold(1000)
        announced = [event for event in await world.published() if isinstance(event, QuotaExceeded)]
        assert [(event.limit, event.used, event.unit) for event in announced] == [("500", "0", "tokens")] * 2
        assert announced[0].resets_at == datetime(2026, 4, 1, tzinfo=UTC)
        assert REGISTRY.get_sample_value("docuchat_holds_total", refused) == before + 4


class TestReporting:
    async def test_windows_models_and_users(self, world: World) -> None:
        colleague, now = uuid7(), world.clock.now()
        for age, changes in (
            (timedelta(hours=1), {"tokens": 100}),
            (timedelta(days=3), {"tokens": 200, "user_id": colleague, "model": "gpt-4o"}),
            (timedelta(days=8), {"tokens": 400}),
            (timedelta(days=20), {"tokens": 800}),
        ):
            await world.spend(occurred_at=now - age, **changes)  # type: ignore[arg-type] - a mixed table of a test
        await world.spend(
            kind=Kind.EMBEDDING, model="text-embedding-3-small", input_tokens=50, output_tokens=0, user_id=None
        )
        report = await world.ledger.report(world.tenant, world.user)
        assert [w.total_tokens for w in (report.tenant.last_24h, report.tenant.last_7d, report.tenant.period)] == [
            150, 350, 750,
        ]  # fmt: skip
        assert [w.total_tokens for w in (report.me.last_24h, report.me.last_7d, report.me.period)] == [100, 100, 500]
        assert report.tenant.last_24h.embedding_tokens == 50
        assert {model: totals.total_tokens for model, totals in report.by_model.items() if totals.total_tokens} == {
            "gpt-4o-mini": 500, "gpt-4o": 200, "text-embedding-3-small": 50,
        }  # fmt: skip
        assert {user: totals.total_tokens for user, totals in report.by_user.items()} == {
            world.user: 500,
            colleague: 200,
        }
        assert report.by_model["text-embedding-3-small"].cost == Decimal("0.000001")
        assert report.my_budget is None

    async def test_opening_a_tenant_twice_changes_nothing(self, world: World) -> None:
        await world.quotas.open_tenant(world.tenant)
        await world.spend(10)
        await world.quotas.open_tenant(world.tenant)
        assert await world.counted() == (10, 0)
