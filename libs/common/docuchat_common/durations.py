"""One grammar for every duration in settings: `500ms`, `30s`, `15m`, `1h`, `7d`; a plain number is seconds."""

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator

_UNITS: Final = {
    "": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_LONGEST: Final = timedelta(days=36_500)
_GRAMMAR: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s?(ms|s|m|h|d|)", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """The duration in `text`; ValueError that shows the grammar when it is none."""
    match = _GRAMMAR.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be a duration like 500ms, 30s, 15m, 1h or 7d; a plain number is seconds")
    duration = float(match[1]) * _UNITS[match[2]]
    if duration > _LONGEST:
        raise ValueError("is longer than a hundred years")
    return duration


def _read(value: object) -> object:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, int | float):
        return timedelta(seconds=value)
    return value


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return value


Duration = Annotated[timedelta, BeforeValidator(_read), AfterValidator(_positive)]
"""A setting longer than nothing, read by `parse_duration`."""
