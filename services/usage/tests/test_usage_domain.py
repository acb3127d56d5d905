"""Rules without input or output."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from docuchat_usage.domain import (
    Counter,
    Crossing,
    Kind,
    Period,
    Price,
    Refusal,
    Subject,
    Unit,
    choose_price,
    highest_threshold,
    subjects_of,
)
from docuchat_usage.service import amount as shown

NOW = datetime(2026, 3, 10, tzinfo=UTC)


def price(provider: str, model: str, *, version: int = 0, amount: str = "1") -> Price:
    valid_from = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=version)
    return Price(0, provider, model, Decimal(amount), Decimal(2), Decimal(3), valid_from)


def test_a_period_is_the_calendar_month_in_utc() -> None:
    tehran = timezone(timedelta(hours=3, minutes=30))
    assert Period.month_of(datetime(2027, 1, 1, 2, tzinfo=tehran)) == Period(
        datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    )
    assert Period.month_of(datetime(2026, 2, 28, tzinfo=UTC)).ends_at == datetime(2026, 3, 1, tzinfo=UTC)


def test_cost_keeps_every_digit() -> None:
    mini = Price(1, "*", "gpt-4o-mini*", Decimal("0.15"), Decimal("0.6"), Decimal("0.15"), NOW)
    assert mini.cost(Kind.CHAT, 1, 1) == Decimal("0.00000075")
    assert mini.cost(Kind.EMBEDDING, 7, 1000) == Decimal("0.00000105")


@pytest.mark.parametrize(
    ("provider", "model", "chosen"),
    [
        ("openai", "gpt-4o-mini-2024-07-18", "gpt-4o-mini*"),
        ("openai", "gpt-4o-2024-08-06", "gpt-4o*"),
        ("openai", "gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("vllm", "gpt-4o", "*"),
        (None, "a-model-of-nobody", "*"),
    ],
)
def test_the_most_specific_price_is_chosen(provider: str | None, model: str, chosen: str) -> None:
    prices = [price("*", name) for name in ("*", "gpt-4o*", "gpt-4o-mini*", "gpt-4o-2024-05-13")] + [price("vllm", "*")]
    found = choose_price(prices, provider, model, NOW)
    assert found is not None
    assert found.model == chosen


def test_the_price_of_the_day_is_chosen() -> None:
    prices = [price("*", "m", version=days, amount=str(days + 1)) for days in (0, 10, 400)]
    assert [
        found.input if (found := choose_price(prices, None, "m", at)) else None
        for at in (datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 11, tzinfo=UTC), NOW)
    ] == [None, 11, 11]


def test_thresholds() -> None:
    assert [highest_threshold(used, 200) for used in (0, 99, 100, 159, 160, 190, 200, 900)] == [
        0, 0, 50, 50, 80, 95, 100, 100,
    ]  # fmt: skip
    assert highest_threshold(5, None) == 0
    jump = Crossing(Subject.TENANT, "1", Unit.TOKENS, NOW, Decimal(97), Decimal(100), 0, 95)
    assert jump.percentages == (50, 80, 95)


def test_a_refusal_by_holds_alone_is_worth_a_retry_after_a_lease() -> None:
    def refusal(used: int) -> Refusal:
        reset = NOW + timedelta(days=20)
        return Refusal(
            Subject.USER, "u", Unit.TOKENS, Decimal(10), Decimal(100), Decimal(used), Decimal(40), reset, announce=True
        )

    lease = timedelta(seconds=60)
    assert refusal(60).retry_after(NOW, lease) == lease
    assert refusal(95).retry_after(NOW, lease) == timedelta(days=20)
    assert refusal(95).remaining == 0


def test_remaining_counts_holds_and_is_never_negative() -> None:
    assert Counter(Decimal(100), Decimal(60), Decimal(30)).remaining == 10
    assert Counter(Decimal(100), Decimal(160), Decimal(0)).remaining == 0
    assert Counter(None, Decimal(1), Decimal(1)).remaining is None


def test_amounts_are_shown_exactly_and_without_exponents() -> None:
    assert shown(Unit.COST, Decimal("0E-12")) == "0"
    assert shown(Unit.COST, Decimal("250.000000000000")) == "250"
    assert shown(Unit.COST, Decimal("0.000000750000")) == "0.00000075"
    assert shown(Unit.TOKENS, Decimal(100)) == "100"


def test_subjects_are_in_the_order_of_their_layers() -> None:
    assert list(subjects_of(1)) == [Subject.TENANT]
    assert list(Subject) == [Subject.TENANT, Subject.CHATBOT, Subject.KEY, Subject.USER]


async def test_a_use_case_that_fell_to_a_deadlock_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    from docuchat_common.db import Deadlocked
    from docuchat_usage.service import _again_after_deadlock

    tries = 0

    async def use_case(_: object) -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Deadlocked
        return "booked"

    assert await _again_after_deadlock(use_case)(None) == "booked"  # type: ignore[arg-type]
    assert tries == 3
