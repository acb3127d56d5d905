"""What a provider is called, and how long it asks to be left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any


def provider_name(base_url: str) -> str:
    """What tells providers apart in a space: the host they are reached at, `openai` for OpenAI's own."""
    from urllib.parse import urlsplit

    host = urlsplit(base_url).hostname or "openai"
    return "openai" if host == "api.openai.com" else host


def read_retry_after(headers: Any) -> timedelta | None:
    """`retry-after-ms`, or `Retry-After` in seconds or as a date (RFC 9110 §10.2.3); None when neither helps."""
    milliseconds, seconds = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if milliseconds:
            return timedelta(milliseconds=float(milliseconds))
        if seconds:
            return timedelta(seconds=float(seconds))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(seconds) if seconds else None
    except ValueError:
        return None
    if moment is None:
        return None
    return max(moment - datetime.now(UTC), timedelta(0)) if moment.tzinfo else None
