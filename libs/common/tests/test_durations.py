"""Durations in settings have one grammar."""

from datetime import timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from docuchat_common.durations import Duration, parse_duration

READ = TypeAdapter(Duration).validate_python


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30", 30), ("30s", 30), ("2.5", 2.5), ("15m", 900), ("1h", 3600), ("7d", 604800), (" 5 m ", 300)],
)
def test_a_duration_is_a_number_with_a_unit_or_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert READ(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", ["", "h", "1y", "1h30m", "-5s", "P1D", "٣s", "1e3", "0", "0s", 0, -1, "999999999d"])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        READ(value)


def test_a_refusal_shows_the_grammar() -> None:
    with pytest.raises(ValueError, match="like 500ms, 30s, 15m, 1h or 7d; a plain number is seconds"):
        parse_duration("soon")
