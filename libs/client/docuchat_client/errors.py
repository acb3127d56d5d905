"""Everything that the client raises. `str(error)` is one readable line; `code` is the service's stable code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import httpx2


class DocuChatError(Exception):
    """The request failed."""

    default_code: ClassVar[str] = "error"

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """`retry_after` in seconds; `details` are the problem document's further members."""
        self.code = code or self.default_code
        self.message = " ".join((message or self.__doc__ or self.code).split())
        self.status = status
        self.retry_after = retry_after
        self.details = dict(details or {})
        super().__init__(self.message)

    @property
    def is_of_token(self) -> bool:
        """Whether another access token may open what this one does not."""
        return isinstance(self, Unauthenticated) or self.code == "second_factor_required"


class InvalidInput(DocuChatError):
    """The request is not valid."""

    default_code = "invalid_input"


class Unauthenticated(DocuChatError):
    """You are not signed in, or your sign-in has expired."""

    default_code = "unauthenticated"


class Forbidden(DocuChatError):
    """This is not allowed for you."""

    default_code = "forbidden"


class NotFound(DocuChatError):
    """There is no such object, or it is not yours to see."""

    default_code = "not_found"


class Conflict(DocuChatError):
    """The request does not fit the present state of the object."""

    default_code = "conflict"


class PayloadTooLarge(DocuChatError):
    """The file is larger than the service accepts."""

    default_code = "payload_too_large"


class UnsupportedMedia(DocuChatError):
    """The service does not accept this type of file."""

    default_code = "unsupported_media_type"


class RateLimited(DocuChatError):
    """Too many requests; wait and try again."""

    default_code = "rate_limited"


class QuotaExceeded(DocuChatError):
    """The quota of this period is used up."""

    default_code = "quota_exceeded"

    @property
    def resets_at(self) -> str | None:
        """When the quota starts anew, as the service said it (ISO 8601)."""
        value = self.details.get("resets_at")
        return str(value) if value is not None else None


class DemoLimitReached(QuotaExceeded):
    """The messages that visitors of this chatbot may send are used up."""

    default_code = "demo_limit_reached"

    @property
    def layer(self) -> str | None:
        """Whose messages they are: the `visitor`'s, those of an `address`, or of all the `chatbot`'s visitors."""
        value = self.details.get("layer")
        return str(value) if value is not None else None


class ServiceUnavailable(DocuChatError):
    """The service, or a part that it needs, does not answer; try again shortly."""

    default_code = "upstream_unavailable"


class ServerError(DocuChatError):
    """The service failed."""

    default_code = "internal_error"


class ConnectionFailed(DocuChatError):
    """The service could not be reached, or the connection was lost."""

    default_code = "connection_failed"


class UnexpectedAnswer(DocuChatError):
    """What answered does not speak this protocol; is the address right?"""

    default_code = "unexpected_answer"


_BY_STATUS: dict[int, type[DocuChatError]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: PayloadTooLarge,
    415: UnsupportedMedia,
    422: InvalidInput,
    429: RateLimited,
    502: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServiceUnavailable,
}
_BY_PROXIES = frozenset({403, 413, 429, 502, 503, 504})
_CATEGORIES: tuple[type[DocuChatError], ...] = (
    InvalidInput,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    PayloadTooLarge,
    UnsupportedMedia,
    RateLimited,
    QuotaExceeded,
    DemoLimitReached,
    ServiceUnavailable,
)
_BY_CODE: dict[str, type[DocuChatError]] = {
    **{category.default_code: category for category in _CATEGORIES},
    **dict.fromkeys(
        (
            "attachment_not_found",
            "chat_not_found",
            "chatbot_not_found",
            "chatbot_version_not_found",
            "collection_not_found",
            "document_not_found",
            "message_not_found",
        ),
        NotFound,
    ),
    **dict.fromkeys(("chat_of_another_chatbot", "chatbot_not_published", "chat_full"), Conflict),
    "message_empty": InvalidInput,
    "message_too_long": InvalidInput,
    "model_not_allowed": InvalidInput,
    "provider_rate_limited": RateLimited,
    "quota_busy": RateLimited,
    "too_many_attempts": RateLimited,
    "request_in_progress": Conflict,
    "shutting_down": ServiceUnavailable,
    "turn_not_found": NotFound,
    **dict.fromkeys(
        ("invalid_api_key", "invalid_token", "operator_token", "session_ended", "token_expired", "token_invalid"),
        Unauthenticated,
    ),
    "token_outdated": Unauthenticated,
    **dict.fromkeys(
        (
            "address_not_allowed",
            "not_allowed",
            "origin_not_allowed",
            "second_factor_required",
            "tenant_deleting",
            "tenant_mismatch",
        ),
        Forbidden,
    ),
    "tenant_suspended": Forbidden,
}
_LIMITS: dict[str, type[DocuChatError]] = {limit.default_code: limit for limit in (QuotaExceeded, DemoLimitReached)}
"""What is refused with the status of too many requests, and is not to be asked again at once."""
_FRAME_MEMBERS = frozenset({"type", "code", "message", "retry_after"})
_MEMBERS = frozenset({"type", "title", "status", "detail", "code", "instance"})


def not_docuchat(address: str, status: int, headers: Mapping[str, str]) -> UnexpectedAnswer:
    """Something else listens at this address."""
    who = headers.get("server") or "something else"
    return UnexpectedAnswer(f"{address} is not a DocuChat: {who} answered with status {status}.", status=status)


def error_from_body(address: str, status: int, body: bytes, headers: Mapping[str, str]) -> DocuChatError:
    """The error of a response: of its problem document, else of its status alone.

    What has no problem document of ours comes from a proxy on the way, or `address` is not a DocuChat's.
    """
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    if not problem.get("code") and status not in _BY_PROXIES:
        return not_docuchat(address, status, headers)
    code = str(problem["code"]) if problem.get("code") else None
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else UnexpectedAnswer)
    if kind is RateLimited:
        kind = _LIMITS.get(code or "", RateLimited)
    detail = problem.get("detail") or problem.get("title")
    message = _with_fields(str(detail), problem.get("errors")) if detail else None
    if message is None and kind is UnexpectedAnswer:
        message = f"The service answered with status {status}."
    return kind(
        message,
        code=code,
        status=status,
        retry_after=retry_after_seconds(headers),
        details={name: value for name, value in problem.items() if name not in _MEMBERS},
    )


def _with_fields(detail: str, fields: Any) -> str:
    if not isinstance(fields, list):
        return detail
    named = [(str(f["field"]), str(f.get("problem"))) for f in fields if isinstance(f, dict) and f.get("field")]
    # said already, in whatever words around it
    unsaid = [f"{field}: {problem}" for field, problem in named if problem not in detail]
    return f"{detail} ({'; '.join(unsaid[:3])})" if unsaid else detail


def error_from_response(address: str, response: httpx2.Response) -> DocuChatError:
    """As `error_from_body`; the response's body must have been read."""
    return error_from_body(address, response.status_code, response.content, response.headers)


def error_from_frame(frame: Mapping[str, Any]) -> DocuChatError:
    """The error that an `error` frame of a stream tells."""
    code = str(frame.get("code") or "error")
    kind = _BY_CODE.get(code, ServerError)
    if kind is ServerError and (code.startswith("provider_") or code.endswith("_unavailable")):
        kind = ServiceUnavailable
    retry_after = frame.get("retry_after")
    return kind(
        str(frame.get("message") or "") or None,
        code=code,
        retry_after=float(retry_after) if isinstance(retry_after, int | float) else None,
        details={name: value for name, value in frame.items() if name not in _FRAME_MEMBERS},
    )


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """The seconds of a Retry-After header; None when there is none, or when it is a date."""
    try:
        return max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError):
        return None
