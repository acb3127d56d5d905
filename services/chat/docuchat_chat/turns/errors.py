"""Errors of turns."""

from __future__ import annotations

from docuchat_common.errors import Conflict, InvalidInput, NotFound, UpstreamUnavailable


class TurnNotFound(NotFound):
    """There is no such turn."""

    code = "turn_not_found"


class ModelNotAllowed(InvalidInput):
    """This model is not allowed."""

    code = "model_not_allowed"


class IdempotencyKeyReused(InvalidInput):
    """This Idempotency-Key was used with another request; use a new key."""

    code = "idempotency_key_reused"


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
