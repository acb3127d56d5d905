"""Rules without input or output."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from docuchat_usage.quotas.domain import Counter, Crossing, Period, Refusal, Subject, Unit
from docuchat_usage.quotas.service import amount as shown

NOW = datetime(2026, 3, 10, tzinfo=UTC)


def test_a_period_is_the_calendar_month_in_utc() -> None:
    tehran = timezone(timedelta(hours=3, minutes=30))
    assert Period.month_of(datetime(2027, 1, 1, 2, tzinfo=tehran)) == Period(
        datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    )
    assert Period.month_of(datetime(2026, 2, 28, tzinfo=UTC)).ends_at == datetime(2026, 3, 1, tzinfo=UTC)


def test_thresholds() -> None:
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


async def test_a_use_case_that_fell_to_a_deadlock_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    from docuchat_common.db import Deadlocked
    from docuchat_usage.quotas.service import again_after_deadlock

    tries = 0

    async def use_case(_: object) -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Deadlocked
        return "booked"

    assert await again_after_deadlock(use_case)(None) == "booked"  # type: ignore[arg-type]
    assert tries == 3
