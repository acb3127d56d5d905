"""Rules without input or output."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from docuchat_usage.ledger.domain import Edges
from docuchat_usage.quotas.domain import Counter, Crossing, Period, Refusal, Subject, Unit

NOW = datetime(2026, 3, 10, tzinfo=UTC)


def test_a_period_is_the_calendar_month_in_utc() -> None:
    tehran = timezone(timedelta(hours=3, minutes=30))
    assert Period.month_of(datetime(2027, 1, 1, 2, tzinfo=tehran)) == Period(
        datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    )
    assert Period.month_of(datetime(2026, 2, 28, tzinfo=UTC)).ends_at == datetime(2026, 3, 1, tzinfo=UTC)


def test_thresholds() -> None:
    jump = Crossing(1, Subject.TENANT, "1", Unit.TOKENS, NOW, Decimal(97), Decimal(100), 0, 95)
    assert jump.percentages == (50, 80, 95)


def test_a_refusal_by_holds_alone_is_busy() -> None:
    def refusal(used: int) -> Refusal:
        return Refusal(
            Subject.USER, "u", Unit.TOKENS, Decimal(10), Decimal(100), Decimal(used), Decimal(40), NOW, announce=True
        )

    assert [refusal(used).is_busy for used in (60, 90, 91)] == [True, True, False]
    assert refusal(95).remaining == 0


def test_remaining_counts_holds_and_is_never_negative() -> None:
    assert Counter(Decimal(100), Decimal(60), Decimal(30)).remaining == 10
    assert Counter(Decimal(100), Decimal(160), Decimal(0)).remaining == 0
    assert Counter(None, Decimal(1), Decimal(1)).remaining is None


def test_amounts_are_shown_exactly_and_without_exponents() -> None:
    assert Unit.COST.text(Decimal("0E-12")) == "0"
    assert Unit.COST.text(Decimal("250.000000000000")) == "250"
    assert Unit.COST.text(Decimal("0.000000750000")) == "0.00000075"
    assert Unit.TOKENS.text(Decimal("100.000000000000")) == "100"
    assert [Unit.TOKENS.number(Decimal(100)), Unit.COST.number(Decimal("0.00000075"))] == [100, 7.5e-07]


@pytest.mark.parametrize(
    ("begins", "hour", "day"),
    [
        ("2026-03-09T12:00:00", "2026-03-09T12:00:00", "2026-03-10T00:00:00"),
        ("2026-03-09T12:00:01", "2026-03-09T13:00:00", "2026-03-10T00:00:00"),
        ("2026-03-09T23:30:00", "2026-03-10T00:00:00", "2026-03-10T00:00:00"),
        ("2026-03-09T00:00:00", "2026-03-09T00:00:00", "2026-03-09T00:00:00"),
    ],
)
def test_a_window_is_read_by_entries_hours_and_days(begins: str, hour: str, day: str) -> None:
    begins_at, first_hour, first_day = (datetime.fromisoformat(f"{text}+00:00") for text in (begins, hour, day))
    assert Edges.of(begins_at) == Edges(begins_at, first_hour, first_day)
