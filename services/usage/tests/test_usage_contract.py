"""What the use cases do, on a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY

from docuchat_common.contracts.holds import HoldKind, HoldUnit, SubjectType
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
from docuchat_usage.quotas.errors import BudgetBusy, HoldNotFound, TenantUnknown

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
        assert (refused.value.extensions["layer"], refused.value.extensions["used"]) == (subject.value, 1000)
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
