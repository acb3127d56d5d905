"""Moments on the command line: a day, a time, or so long from now."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import typer

_SPAN = re.compile(r"(\d{1,5})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _reader(sign: int, when: str) -> Callable[[str], datetime]:
    def read(text: str) -> datetime:
        given = text.strip()
        if span := _SPAN.fullmatch(given):
            return datetime.now(UTC) + sign * timedelta(**{_UNITS[span[2]]: int(span[1])})
        try:
            return datetime.fromisoformat(given)
        except ValueError as error:
            raise typer.BadParameter(
                f"{given!r} is no moment; say a day (2026-12-31), a time (2026-12-31T08:00), or 30d, 12h {when}"
            ) from error

    return read


coming = _reader(1, "from now")
past = _reader(-1, "ago")
