"""One pure ASGI middleware: request id, trace, a log line and metrics a request, the last resort for errors.

Pure ASGI because Starlette's BaseHTTPMiddleware buffers streams.
"""

import re
import time

import structlog
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from docuchat_common.contracts.revisions import PATH as REVISIONS
from docuchat_common.errors import DocuChatError
from docuchat_common.http.problems import problem_response, response_for
from docuchat_common.ids import uuid7
from docuchat_common.telemetry import traced

logger = structlog.get_logger()

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_ANSWERS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
_QUIET = frozenset({"/livez", "/readyz", "/healthz", "/metrics", REVISIONS})

_requests = Counter("docuchat_http_requests", "Requests by route and status.", ["method", "route", "status"])
_seconds = Histogram(
    "docuchat_http_request_seconds",
    "Time until the response was sent whole.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
)


class RequestContext:
    """Wraps the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {
            name: value for name, value in scope["headers"] if name in (b"x-request-id", b"traceparent", b"tracestate")
        }
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if _REQUEST_ID.fullmatch(given) else str(uuid7())
        scope["request_id"] = request_id
        carrier = {name.decode(): value.decode("latin-1") for name, value in headers.items()}
        status = 500
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal status, started
            if message["type"] in _ANSWERS:
                started = True
                status = message.get("status", 101)
                message.setdefault("headers", [])
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        method = scope.get("method", "WS")
        begin = time.perf_counter()
        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            traced(f"{method} {scope['path']}", SpanKind.SERVER, carrier) as span,
        ):
            try:
                await self._app(scope, receive, send_with_id)
            except DocuChatError as error:
                if started or scope["type"] == "websocket":
                    logger.warning("http.failed_late", error=error.code)
                else:
                    await response_for(error, request_id)(scope, receive, send_with_id)
            except Exception:
                logger.exception("http.unhandled")
                if not started and scope["type"] == "http":
                    response = problem_response(
                        500,
                        "internal_error",
                        "Something went wrong on our side; it is logged under this request id.",
                        request_id=request_id,
                    )
                    await response(scope, receive, send_with_id)
            route = _route_of(scope)
            span.update_name(f"{method} {route}")
            elapsed = time.perf_counter() - begin
            _requests.labels(method, route, status).inc()
            _seconds.labels(method, route).observe(elapsed)
            if scope["path"] not in _QUIET:
                logger.info("http.request", method=method, route=route, status=status, ms=round(elapsed * 1000, 1))


def _route_of(scope: Scope) -> str:
    """The route's template, so that ids and query strings reach neither logs nor metric labels."""
    route = scope.get("route")
    path = scope.get("route_template") or getattr(route, "path", None)
    return path if isinstance(path, str) else "unmatched"
