"""Errors of turns."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from docuchat_common.errors import Conflict, NotFound, RateLimited, UpstreamUnavailable
from docuchat_models.errors import (
    ProviderFailed,
    ProviderInterrupted,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
)


class TurnNotFound(NotFound):
    """There is no such turn."""

    code = "turn_not_found"


class RequestInProgress(Conflict):
    """The request with this Idempotency-Key is still being answered; ask again, or attach with `stream: true`."""

    code = "request_in_progress"


class ShuttingDown(UpstreamUnavailable):
    """This process is shutting down; ask again."""

    code = "shutting_down"


class TooBusy(UpstreamUnavailable):
    """Too many questions are being answered now; ask again shortly."""

    code = "too_busy"


class StorageUnavailable(UpstreamUnavailable):
    """The answer could not be stored yet; it will be in the chat shortly."""

    code = "storage_unavailable"


class AnswerEmpty(UpstreamUnavailable):
    """The model gave no text; ask again, or in other words."""

    code = "answer_empty"


class AnswerNotStored(UpstreamUnavailable):
    """The answer could not be stored, and is lost; what it cost is booked."""

    code = "answer_not_stored"


class AnswerInterrupted(UpstreamUnavailable):
    """The service was restarted in mid-answer; what came is kept. Ask again with a new Idempotency-Key."""

    code = "answer_interrupted"


ANSWER_ERRORS: Final[tuple[type[UpstreamUnavailable | RateLimited], ...]] = (
    AnswerEmpty,
    AnswerInterrupted,
    AnswerNotStored,
    ProviderFailed,
    ProviderInterrupted,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
    StorageUnavailable,
)
"""What an answer may end with."""
_OF_ANSWERS = {error.code: error for error in ANSWER_ERRORS}


_NEW_KEY = "Ask again with a new Idempotency-Key."


def asking_for_new_key(detail: str | None) -> str:
    """Return what ended an interrupted turn, with what helps when a key stands for it: waiting does not."""
    said = detail or ""
    return said if _NEW_KEY in said else f"{said} {_NEW_KEY}".strip()


def final(error: UpstreamUnavailable | RateLimited) -> UpstreamUnavailable | RateLimited:
    """Return an interrupted turn's error for a request with a key: it will be the same each time."""
    error.detail = asking_for_new_key(error.detail)
    error.retry_after, error.passes = None, False
    return error


def error_of(
    code: str | None, detail: str | None, retry_after_seconds: int | None
) -> UpstreamUnavailable | RateLimited:
    """Return the error that a stored turn had ended with, as it was told the first time."""
    wait = None if retry_after_seconds is None else timedelta(seconds=retry_after_seconds)
    error = _OF_ANSWERS.get(code or "", UpstreamUnavailable)(detail, retry_after=wait)
    error.code = code or error.code
    return error
