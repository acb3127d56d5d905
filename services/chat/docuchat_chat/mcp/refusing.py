"""Errors as a tool's result, in words that a model can act on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from docuchat_common.errors import DocuChatError, InvalidInput
from docuchat_common.http.problems import MOST_ERRORS

_LONGEST_NAME = 100


def told(error: DocuChatError) -> tuple[str, dict[str, Any]]:
    """Return an error as text and as facts: its code, what to do, and when to try again."""
    facts: dict[str, Any] = {"code": error.code, "detail": error.detail, **error.extensions}
    text = f"{error.code}: {error.detail}"
    if error.retry_after is not None:
        seconds = max(1, math.ceil(error.retry_after.total_seconds()))
        facts["retry_after_seconds"] = seconds
        text += f" (Try again in {seconds} seconds.)"
    return text, facts


def invalid(error: ValidationError) -> InvalidInput:
    """Return what is wrong with a tool's arguments; they themselves are not repeated."""
    problems = error.errors(include_input=False, include_url=False, include_context=False)[:MOST_ERRORS]
    wrong = "; ".join(map(_named, problems))
    return InvalidInput(f"The arguments are not valid: {wrong}. The tool's input schema says what it takes.")


def _named(problem: Mapping[str, Any]) -> str:
    place = ".".join(str(part)[:_LONGEST_NAME] for part in problem["loc"]) or "arguments"
    return f"{place}: {problem['msg'].removeprefix('Value error, ')}"
