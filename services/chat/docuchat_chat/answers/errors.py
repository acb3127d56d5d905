"""Errors of questions."""

from __future__ import annotations

from collections.abc import Sequence

from docuchat_common.errors import InvalidInput


class MessageEmpty(InvalidInput):
    """The message is empty; ask something."""

    code = "message_empty"


class ModelNotAllowed(InvalidInput):
    """This model is not allowed."""

    code = "model_not_allowed"


def require_allowed(model: str, allowed: Sequence[str]) -> None:
    """Raise ModelNotAllowed, which names those that are, unless `model` is one of them."""
    if model not in allowed:
        raise ModelNotAllowed(
            f"This model is not allowed; allowed are {', '.join(allowed)}, and what GET /v1/models lists besides.",
            allowed_models=list(allowed),
        )
