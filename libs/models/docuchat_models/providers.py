"""What a provider is called, and how long it may ask to be left alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

LONGEST_PAUSE = timedelta(minutes=10)
"""What a provider may ask for at most, by default: it is told again when it still holds."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a provider answered that was asked for its models; no `status` when it did not answer."""

    status: int | None
    models: frozenset[str] | None = None
    """None when its answer is no list of models."""
    is_late: bool = False


def provider_name(base_url: str) -> str:
    """The provider's name in holds, prices, ledger and embedding spaces: its host, `openai` for OpenAI's own."""
    host = urlsplit(base_url).hostname or "openai"
    return "openai" if host == "api.openai.com" else host


def read_retry_after(headers: Mapping[str, str], *, longest: timedelta = LONGEST_PAUSE) -> timedelta | None:
    """`retry-after-ms`, or `Retry-After` in seconds or as a date (RFC 9110 §10.2.3), between zero and `longest`.

    None when neither helps.
    """
    milliseconds, seconds = headers.get("retry-after-ms"), headers.get("retry-after")
    asked = _number(milliseconds, 1000.0)
    if asked is None:
        asked = _number(seconds, 1.0)
    if asked is None and seconds:
        asked = _until(seconds)
    return None if asked is None else timedelta(seconds=min(max(asked, 0.0), longest.total_seconds()))


def _number(text: str | None, divisor: float) -> float | None:
    try:
        value = float(text or "") / divisor
    except ValueError:
        return None
    return None if math.isnan(value) else value


def _until(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return (moment - datetime.now(UTC)).total_seconds() if moment.tzinfo else None
