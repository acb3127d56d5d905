"""Errors as RFC 9457 problem JSON with a stable `code`; category → status in one table."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final, TypeVar, cast

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from docuchat_common.errors import (
    BadRequest,
    Conflict,
    DocuChatError,
    Forbidden,
    InvalidInput,
    NotFound,
    PayloadTooLarge,
    QuotaExceeded,
    RangeUnsatisfiable,
    RateLimited,
    RequestTimeout,
    StorageFull,
    Unauthenticated,
    UnsupportedMedia,
    UpstreamUnavailable,
)

STATUS: dict[type[DocuChatError], int] = {
    InvalidInput: 422,
    BadRequest: 400,
    RangeUnsatisfiable: 416,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    RequestTimeout: 408,
    Conflict: 409,
    PayloadTooLarge: 413,
    UnsupportedMedia: 415,
    RateLimited: 429,
    QuotaExceeded: 429,
    UpstreamUnavailable: 503,
    StorageFull: 507,
}

_TITLES = {
    400: "Bad request",
    401: "Unauthenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    409: "Conflict",
    413: "Payload too large",
    415: "Unsupported media type",
    416: "Range not satisfiable",
    422: "Invalid input",
    429: "Too many requests",
    500: "Internal error",
    502: "Bad gateway",
    503: "Unavailable",
    504: "Upstream timeout",
    507: "Out of storage",
}

HTTP_CODES: dict[str, tuple[int, str]] = {
    "method_not_allowed": (405, "This method is not allowed at this path."),
    "internal_error": (500, "Something went wrong on our side; it is logged under this request id."),
    "http_error": (500, "The request failed; `status` says how."),
}
"""Codes of failures that are no error of ours: status and message."""

_CODES = {
    **{status: code for code, (status, _) in HTTP_CODES.items()},
    **{status: kind.code for kind, status in STATUS.items() if kind not in (QuotaExceeded, InvalidInput)},
    500: "http_error",
}


MOST_ERRORS: Final = 20
"""Fields that one answer names."""
_LONGEST_NAME: Final = 100


class InvalidField(BaseModel):
    """One field that was not valid."""

    field: str = Field(examples=["body.email"])
    problem: str = Field(examples=["value is not a valid email address"])


class Problem(BaseModel):
    """RFC 9457 problem details; `code` is stable, `detail` says what was wrong and what to do."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    request_id: str | None = None
    errors: list[InvalidField] | None = Field(default=None, max_length=MOST_ERRORS, description="The first of them.")


PROBLEM_JSON: Final = "application/problem+json"
_F = TypeVar("_F", bound=Callable[..., Any])


def raises(*kinds: type[DocuChatError]) -> Callable[[_F], _F]:
    """Say in which errors a route, or what it depends on, may end; the API's description lists them from this."""

    def mark(function: _F) -> _F:
        vars(function)["raises"] = kinds
        return function

    return mark


Responses = dict[int | str, dict[str, Any]]
"""OpenAPI responses of a route; refusals by text, as in the finished document."""


def problem_responses(*kinds: type[DocuChatError]) -> Responses:
    """OpenAPI `responses` of these errors: each status with its codes."""
    return with_problems({}, *kinds)


def with_problems(responses: Responses, *kinds: type[DocuChatError]) -> Responses:
    """OpenAPI `responses`, and these errors besides."""
    codes: defaultdict[str, set[str]] = defaultdict(set)
    for kind in kinds:
        codes[str(_status(kind))].add(kind.code)
    merged = dict(responses)
    for status, found in codes.items():
        merged[status] = _problem(status, found | codes_of(responses.get(status, {})))
    return merged


def codes_of(response: Mapping[str, Any]) -> set[str]:
    """The codes that an OpenAPI response names, as a problem or as an error of OpenAI's."""
    found: set[str] = set()
    for content in response.get("content", {}).values():
        for part in content.get("schema", {}).get("allOf", ()):
            members = part.get("properties", {})
            members = members.get("error", {}).get("properties", members)
            found |= set(members.get("code", {}).get("enum", ()))
    return found


def reference(name: str) -> dict[str, str]:
    """An OpenAPI reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def _problem(status: str, codes: set[str]) -> dict[str, Any]:
    code = {"type": "string", "enum": sorted(codes)}
    schema = {"allOf": [reference("Problem"), {"properties": {"code": code}}]}
    return {"description": _TITLES[int(status)], "content": {PROBLEM_JSON: {"schema": schema}}}


def _status(kind: type[DocuChatError]) -> int:
    return next((STATUS[parent] for parent in kind.__mro__ if parent in STATUS), 500)


def status_of(error: DocuChatError) -> int:
    """HTTP status of an error's category."""
    return _status(type(error))


def problem_body(
    status: int, code: str, detail: str, *, request_id: str | None = None, **extensions: Any
) -> dict[str, Any]:
    """The members of a problem document."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "code": code,
        "detail": detail,
    }
    if request_id is not None:
        body["request_id"] = request_id
    return {**body, **extensions}


def problem_response(
    status: int,
    code: str,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    request_id: str | None = None,
    **extensions: Any,
) -> Response:
    """A problem document as a response."""
    return Response(
        orjson.dumps(problem_body(status, code, detail, request_id=request_id, **extensions), default=str),
        status_code=status,
        media_type=PROBLEM_JSON,
        headers=headers,
    )


def response_for(error: DocuChatError, request_id: str | None = None) -> Response:
    """The problem response of an expected error, with `Retry-After` (whole seconds, rounded up) where it has one."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after.total_seconds())))
    elif isinstance(error, UpstreamUnavailable) and error.passes:
        headers["Retry-After"] = "2"
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return problem_response(
        status_of(error), error.code, error.detail, headers=headers, request_id=request_id, **error.extensions
    )


def install_problem_handlers(app: FastAPI) -> None:
    """Every error of `app` becomes a problem document; the user's input is never echoed."""

    async def on_expected(request: Request, error: Exception) -> Response:
        return response_for(cast(DocuChatError, error), _request_id(request))

    async def on_invalid(request: Request, error: Exception) -> Response:
        problems = islice(cast(RequestValidationError, error).errors(), MOST_ERRORS)
        fields = [_invalid_field(problem) for problem in problems]
        detail = "; ".join(f"{field['field']}: {field['problem']}" for field in fields[:5])
        return problem_response(
            422,
            InvalidInput.code,
            f"The request is not valid: {detail}",
            request_id=_request_id(request),
            errors=fields,
        )

    async def on_http(request: Request, raised: Exception) -> Response:
        error = cast(HTTPException, raised)
        detail = {
            404: f"There is nothing at {request.method} {request.url.path}; see /docs for what there is.",
            405: f"{request.method} is not allowed at {request.url.path}; see /docs.",
        }.get(error.status_code, str(error.detail))
        return problem_response(
            error.status_code,
            _CODES.get(error.status_code, "http_error"),
            detail,
            headers=dict(error.headers or {}),
            request_id=_request_id(request),
        )

    app.add_exception_handler(DocuChatError, on_expected)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


def _invalid_field(problem: Mapping[str, Any]) -> dict[str, str]:
    place = problem["loc"]
    if problem["type"] == "json_invalid" and isinstance(place[-1], int):
        reason = problem.get("ctx", {}).get("error", problem["msg"])
        return {"field": "body", "problem": f"is not JSON, at character {place[-1]}: {reason}"}
    if tuple(place) == ("body",) and problem["type"] in ("model_attributes_type", "missing"):
        return {
            "field": "body",
            "problem": "must be a JSON object, sent with the header Content-Type: application/json",
        }
    return {
        "field": ".".join(str(part)[:_LONGEST_NAME] for part in place),
        "problem": problem["msg"].removeprefix("Value error, "),
    }


def _request_id(request: Request) -> str | None:
    return request.scope.get("request_id")
