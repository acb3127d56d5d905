"""Errors as OpenAI's clients understand them: `{"error": {"message", "type", "param", "code"}}`, with our own code.

The services answer with problems; at the paths whose clients are OpenAI's, the gateway says them in these words. What
breaks off in the midst of a stream is said so by the service itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
_QUOTA: Final = frozenset({"quota_exceeded", "demo_limit_reached"})
_MEMBERS: Final = frozenset({"type", "title", "status", "code", "detail", "request_id", "errors", "param"})
_LOCATIONS: Final = ("body.", "path.", "query.", "header.")


class OpenAIErrorObject(BaseModel):
    """What was wrong, and what to do."""

    message: str
    type: Literal[
        "invalid_request_error",
        "authentication_error",
        "permission_error",
        "rate_limit_error",
        "insufficient_quota",
        "server_error",
    ]
    param: str | None = Field(description="What of the request is meant, where one thing is.")
    code: str
    docuchat: dict[str, Any] | None = Field(default=None, description="What the problem of this code says besides.")


class OpenAIError(BaseModel):
    """An error in the words of OpenAI; its `code` is the stable one of the product."""

    error: OpenAIErrorObject


class ResponseErrorEvent(BaseModel):
    """A stream of a response was refused after its head was out, or broke off.

    The same twice: as OpenAI documents it, and as `error`, which makes OpenAI's clients raise it.
    """

    type: Literal["error"]
    code: str
    message: str
    param: str | None
    error: OpenAIErrorObject
    sequence_number: int = Field(
        ge=-1,
        description="-1: only this connection is at an end; `GET /v1/responses/{response_id}` goes on, where the "
        "response is stored.",
    )

    @classmethod
    def of(cls, told: Mapping[str, Any], number: int) -> ResponseErrorEvent:
        """Return the event of an `openai_error`; a number it must have, since clients refuse an event without."""
        same = {name: told[name] for name in ("code", "message", "param")}
        return cls(type="error", error=OpenAIErrorObject.model_validate(told), sequence_number=number, **same)


def openai_status(status: int) -> int:
    """The status that their clients know: what is not valid is 400, whichever way."""
    return 400 if status in (415, 422) else status


def openai_error(status: int, code: str, message: str, extensions: Mapping[str, Any]) -> dict[str, Any]:
    """The `error` of a failure; what a problem says besides is its `docuchat`."""
    error: dict[str, Any] = {
        "message": message,
        "type": _type_of(status, code),
        "param": _param_of(extensions),
        "code": code,
    }
    more = {name: value for name, value in extensions.items() if name not in _MEMBERS}
    return error | {"docuchat": more} if more else error


def _type_of(status: int, code: str) -> str:
    if code in _QUOTA:
        return "insufficient_quota"
    return _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")


def _param_of(extensions: Mapping[str, Any]) -> str | None:
    """What of the request is meant, where one thing is."""
    param = extensions.get("param")
    if param is None:
        errors = extensions.get("errors")
        first = errors[0] if isinstance(errors, Sequence) and errors else {}
        param = first.get("field")
    if not isinstance(param, str) or param == "body":
        return None
    return next((param.removeprefix(place) for place in _LOCATIONS if param.startswith(place)), param)
