"""Errors as OpenAI's clients understand them: `{"error": {"message", "type", "param", "code"}}`, with our own code.

The services answer with problems; at the paths whose clients are OpenAI's, the gateway says them in these words. What
breaks off in the midst of a stream is said so by the service itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
_QUOTA: Final = frozenset({"quota_exceeded", "demo_limit_reached"})
_MEMBERS: Final = frozenset({"type", "title", "status", "code", "detail", "request_id", "errors", "param"})
_LOCATIONS: Final = ("body.", "path.", "query.", "header.")


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
