"""What bookings, announcements, limits and reports do, on a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY

from docuchat_common.errors import QuotaExceeded
from docuchat_common.events import catalogue
from docuchat_common.events.catalogue import QuotaThreshold
from docuchat_common.ids import uuid7
from docuchat_usage.ledger.domain import Kind
from docuchat_usage.ledger.errors import EntryMissing, UsageAbsurd
from docuchat_usage.ledger.service import LedgerService
from docuchat_usage.prices.domain import Price
from docuchat_usage.prices.errors import PriceExists, PriceInvalid
from docuchat_usage.quotas.domain import HoldState, Subject, Unit
from docuchat_usage.quotas.errors import TenantUnknown

if TYPE_CHECKING:
    from conftest import World


MINUTE = timedelta(minutes=1)


class TestBooking:
    async def test_settling_replaces_the_hold_by_what_was_used(self, world: World) -> None:
        hold = await world.hold(1000)
        booking = await world.book(world.usage(300, hold_id=hold.id))
        assert booking is not None
        assert booking.hold_state is HoldState.HELD
        assert await world.counted() == (300, 0)

    async def test_an_event_is_booked_once(self, world: World) -> None:
        hold = await world.hold(1000)
        usage = world.usage(300, hold_id=hold.id)
        assert await world.book(usage) is not None
        assert await world.book(usage) is None
        assert await world.counted() == (300, 0)

    async def test_tokens_are_booked_when_the_hold_is_long_gone(self, world: World) -> None:
        hold = await world.hold(1000)
        world.clock.advance(2 * MINUTE)
        await world.quotas.sweep()
        booking = await world.book(world.usage(1200, hold_id=hold.id))
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

    async def test_a_list_of_events_is_booked_at_once_and_each_event_once(self, world: World) -> None:
        other = world.tenant + 500_000
        events = [world.usage(100), world.usage(200), world.usage(50, tenant_id=other), world.usage(25)]
        await world.book(events[3])
        booked = await world.ledger.book([*events, events[0]])
        assert {booking.event_id for booking in booked} == {event.event_id for event in events[:3]}
        assert await world.counted() == (325, 0)

    async def test_a_correction_books_the_difference_once(self, world: World) -> None:
        first = world.usage(input_tokens=1000, output_tokens=100)
        right = world.usage(input_tokens=700, output_tokens=150, corrects=first.event_id)
        await world.book(first)
        for _ in range(2):
            await world.book(right)
        report = await world.report()
        assert (report.tenant.period.input_tokens, report.tenant.period.output_tokens) == (700, 150)
        assert report.tenant.period.cost == Decimal("0.000195")
        assert await world.counted() == (850, 0)

    async def test_a_correction_waits_for_what_it_corrects(self, world: World) -> None:
        first = world.usage(300)
        right = world.usage(200, corrects=first.event_id)
        with pytest.raises(EntryMissing):
            await world.book(right)
        await world.ledger.book([right, first])
        assert await world.counted() == (200, 0)

    async def test_more_tokens_than_a_call_can_have_are_never_booked(self, world: World) -> None:
        with pytest.raises(UsageAbsurd):
            await world.ledger.book([world.usage(10), world.usage(10**15)])
        assert await world.counted() == (0, 0)

    async def test_events_that_were_lost_can_be_told(self, world: World) -> None:
        booked, lost = world.usage(10), world.usage(10)
        await world.book(booked)
        assert await world.ledger.list_booked([booked.event_id, lost.event_id]) == [booked.event_id]

    async def test_old_entries_are_forgotten_and_their_sums_stay(self, world: World) -> None:
        await world.spend(100)
        world.clock.advance(timedelta(days=20))
        await world.spend(10)
        ledger = LedgerService(world.quotas._uow, world.clock, keep_entries=timedelta(days=19))
        assert [await ledger.forget(), await ledger.forget()] == [1, 0]
        report = await world.report()
        assert (report.tenant.period.total_tokens, report.tenant.last_7d.total_tokens) == (110, 10)

    async def test_two_calls_on_one_hold_close_it_once(self, world: World) -> None:
        hold = await world.hold(1000)
        await world.spend(300, hold_id=hold.id)
        await world.spend(200, hold_id=hold.id)
        assert await world.counted() == (500, 0)

    async def test_unknown_models_have_a_price_and_are_counted(self, world: World) -> None:
        before = REGISTRY.get_sample_value("docuchat_usage_unpriced_total", {"kind": "chat"}) or 0
        booking = await world.book(world.usage(model="m-of-nobody", input_tokens=1, output_tokens=1))
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
        booking = await world.book(world.usage(provider=provider, model=model, input_tokens=1_000_000, output_tokens=0))
        assert booking is not None
        assert booking.cost == Decimal(cost)

    async def test_local_models_are_free(self, world: World) -> None:
        for model in ("wordllama-256", "extractive"):
            booking = await world.book(world.usage(provider="local", model=model))
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
            booking = await world.book(world.usage(input_tokens=1, output_tokens=0, **changes))
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
        await world.set_tokens(1000, world.user)
        report = await world.report()
        mine = report.budgets[Subject.USER][Unit.TOKENS]
        assert (mine.used, mine.remaining) == (400, 600)


class TestPeriods:
    async def test_counters_roll_over_at_the_month_and_holds_stay(self, world: World) -> None:
        await world.set_tokens(1000)
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
        report = await world.report()
        assert await world.counted() == (0, 0)
        assert (report.tenant.last_24h.total_tokens, report.tenant.period.total_tokens) == (600, 0)

    async def test_thresholds_begin_again_with_the_month(self, world: World) -> None:
        await world.set_tokens(1000)
        await world.spend(600)
        world.clock.moment = datetime(2026, 4, 2, tzinfo=UTC)
        await world.spend(600)
        announced = [event for event in await world.published() if isinstance(event, QuotaThreshold)]
        assert [(event.percent, event.period_start.month) for event in announced] == [(50, 3), (50, 4)]


class TestAnnouncing:
    async def test_each_threshold_once(self, world: World) -> None:
        await world.set_tokens(1000)
        for tokens in (490, 20, 10, 440, 30, 20, 500):
            await world.spend(tokens)
        announced = [event for event in await world.published() if isinstance(event, QuotaThreshold)]
        assert [(event.percent, event.used, event.unit, event.subject_type) for event in announced] == [
            (50, "510", "tokens", "tenant"), (80, "960", "tokens", "tenant"), (95, "960", "tokens", "tenant"),
            (100, "1010", "tokens", "tenant"),
        ]  # fmt: skip
        assert {event.limit for event in announced} == {"1000"}
        assert [(event.used_amount, event.limit_amount) for event in announced] == [
            (510, 1000), (960, 1000), (960, 1000), (1010, 1000),
        ]  # fmt: skip

    async def test_thresholds_of_money(self, world: World) -> None:
        await world.quotas.open_tenant(world.tenant)
        await world.quotas.set_quota(world.tenant, None, {Unit.COST: Decimal("0.0001")})
        await world.spend(input_tokens=600, output_tokens=0)
        announced = [event for event in await world.published() if isinstance(event, QuotaThreshold)]
        assert [(event.percent, event.used, event.limit, event.unit) for event in announced] == [
            (50, "0.00009", "0.0001", "cost"), (80, "0.00009", "0.0001", "cost"),
        ]  # fmt: skip

    async def test_a_raised_limit_announces_anew(self, world: World) -> None:
        await world.set_tokens(1000)
        await world.spend(850)
        await world.set_tokens(2000)
        await world.spend(200)
        announced = [event for event in await world.published() if isinstance(event, QuotaThreshold)]
        assert [(event.percent, event.limit) for event in announced] == [(50, "1000"), (80, "1000"), (50, "2000")]

    async def test_refusals_are_announced_once_an_hour(self, world: World) -> None:
        refused = {"outcome": "refused", "subject": "tenant"}
        before = REGISTRY.get_sample_value("docuchat_holds_total", refused) or 0
        await world.set_tokens(500)
        for _ in range(3):
            with pytest.raises(QuotaExceeded):
                await world.hold(1000)
        world.clock.advance(timedelta(minutes=61))
        with pytest.raises(QuotaExceeded):
            await world.hold(1000)
        announced = [event for event in await world.published() if isinstance(event, catalogue.QuotaExceeded)]
        assert [(event.limit, event.used, event.unit) for event in announced] == [("500", "0", "tokens")] * 2
        assert announced[0].resets_at == datetime(2026, 4, 1, tzinfo=UTC)
        assert REGISTRY.get_sample_value("docuchat_holds_total", refused) == before + 4


class TestLimits:
    async def test_an_unknown_tenant_is_said_to_be_unknown(self, world: World) -> None:
        for call in (
            world.quotas.set_quota(world.tenant, None, {Unit.TOKENS: 5}),
            world.quotas.get_quota(world.tenant, None),
        ):
            with pytest.raises(TenantUnknown, match=str(world.tenant)):
                await call

    async def test_a_limit_can_be_lifted(self, world: World) -> None:
        await world.set_tokens(10)
        await world.quotas.set_quota(world.tenant, None, {Unit.TOKENS: None})
        await world.hold(10_000_000)
        assert (await world.quotas.get_quota(world.tenant, None))[Subject.TENANT][Unit.TOKENS].limit is None


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
        report = await world.report()
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
        assert Subject.USER not in report.budgets

    @pytest.mark.parametrize("minutes", [0, 1, 59, 60, 61, 779, 780, 1439])
    async def test_a_window_begins_to_the_second(self, world: World, minutes: int) -> None:
        for window in (timedelta(days=1), timedelta(days=7)):
            edge = world.clock.now() - window + timedelta(minutes=minutes)
            await world.spend(100, occurred_at=edge)
            await world.spend(7, occurred_at=world.clock.now() - window - timedelta(seconds=1))
        report = await world.report()
        assert report.tenant.last_24h.total_tokens == 100
        assert report.tenant.last_7d.total_tokens == 207

    async def test_opening_a_tenant_twice_changes_nothing(self, world: World) -> None:
        await world.quotas.open_tenant(world.tenant)
        await world.spend(10)
        await world.quotas.open_tenant(world.tenant)
        assert await world.counted() == (10, 0)
