"""Expected failures, by category.

The domain raises these and knows no protocol. Two tables at the edges give them meaning: `http.problems` maps each to
a status, `messaging.consumer` maps it to acknowledge, retry later or dead-letter.
"""

import inspect
from datetime import timedelta
from typing import Any


class DocuChatError(Exception):
    """Something expected went wrong."""

    code: str = "error"
    retry_after: timedelta | None = None

    def __init__(self, detail: str | None = None, **extensions: Any) -> None:
        self.detail = detail or inspect.cleandoc(type(self).__doc__ or "").split("\n", 1)[0]
        self.extensions = extensions
        super().__init__(self.detail)


class NotFound(DocuChatError):
    """There is no such object, or it is not yours to see."""

    code = "not_found"


class TenantGone(NotFound):
    """This tenant was deleted."""

    code = "tenant_gone"
    sqlstate = "DC001"
    """With which the database refuses what is added for it."""


class Conflict(DocuChatError):
    """The request does not fit the present state of the object."""

    code = "conflict"


class InvalidInput(DocuChatError):
    """The request is not valid."""

    code = "invalid_input"


class BadRequest(InvalidInput):
    """The request is malformed."""

    code = "bad_request"


class RangeUnsatisfiable(InvalidInput):
    """The range lies outside of the file."""

    code = "range_unsatisfiable"


class RequestTimeout(DocuChatError):
    """The request did not arrive whole in time; send it again."""

    code = "request_timeout"


class PayloadTooLarge(DocuChatError):
    """The request is larger than is accepted."""

    code = "payload_too_large"


class UnsupportedMedia(DocuChatError):
    """This type of content is not accepted."""

    code = "unsupported_media_type"


class Unauthenticated(DocuChatError):
    """Sign in first: send a valid access token as `Authorization: Bearer <token>`."""

    code = "unauthenticated"


class Forbidden(DocuChatError):
    """You are signed in, but this is not allowed for you."""

    code = "forbidden"


class _Retryable(DocuChatError):
    """Try again later."""

    passes: bool = True
    """Whether the same request may succeed when it is repeated."""

    def __init__(self, detail: str | None = None, *, retry_after: timedelta | None = None, **extensions: Any) -> None:
        super().__init__(detail, **extensions)
        self.retry_after = retry_after


class RateLimited(_Retryable):
    """Too many requests; wait and try again."""

    code = "rate_limited"


class QuotaExceeded(_Retryable):
    """The quota of this period is used up."""

    code = "quota_exceeded"


class UpstreamUnavailable(_Retryable):
    """A part that is needed for this does not answer; try again shortly."""

    code = "upstream_unavailable"


class StorageFull(UpstreamUnavailable):
    """There is no room left to store this; delete documents, or ask the operator for more space."""

    code = "storage_full"
    passes = False
