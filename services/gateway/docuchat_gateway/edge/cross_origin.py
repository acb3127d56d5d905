"""From which pages a browser may call the API (CORS)."""

from collections.abc import Sequence
from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from docuchat_common.contracts.permissions import PERMISSIONS, VISITOR
from docuchat_gateway.edge.table import TABLE
from docuchat_gateway.events.routes import PATH as EVENTS
from docuchat_gateway.widget.routes import PREFIX as WIDGET

_PUBLIC: Final = "/v1/public/"
_OF_VISITORS: Final = [
    compile_path(path)[0]
    for path in (
        *(row.path for row in TABLE if row.path.startswith(_PUBLIC) or row.action in PERMISSIONS[VISITOR]),
        EVENTS,
        f"{EVENTS}/tickets",
    )
]
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_SHOWN: Final = (
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "Mcp-Session-Id",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "WWW-Authenticate",
    "X-Chat-ID",
    "X-Request-ID",
    "X-Turn-ID",
)


class CrossOrigin:
    """Lets pages of the named origins call everything, and those of any origin what visitors of chatbots call.

    Which of these a chatbot admits is judged by its list: a browser would not even show another page why it is refused.
    The widget's script says itself that it is for all, the same to each, so that one copy in a cache serves them.
    No cookie or other credential of the browser's own is ever taken.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._named = _cors(app, origins)
        self._any = _cors(app, ["*"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(WIDGET):
            await self._app(scope, receive, send)
            return
        is_open = scope["type"] == "http" and any(pattern.match(scope["path"]) for pattern in _OF_VISITORS)
        await (self._any if is_open else self._named)(scope, receive, send)


def _cors(app: ASGIApp, origins: Sequence[str]) -> CORSMiddleware:
    return CORSMiddleware(
        app, allow_origins=origins, allow_methods=_METHODS, allow_headers=["*"], expose_headers=_SHOWN, max_age=600
    )
