"""The gateway's application."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware

from docuchat_common.http.app import create_service_app
from docuchat_common.http.health import health_router
from docuchat_gateway.bootstrap import Container, open_container
from docuchat_gateway.collections import routes as collection_routes
from docuchat_gateway.documents import file_routes, passage_routes, upload_routes
from docuchat_gateway.documents import routes as document_routes
from docuchat_gateway.edge import home, mcp, openapi_document, pages
from docuchat_gateway.edge.aliases.middleware import Aliases
from docuchat_gateway.edge.api_keys import ApiKeyCredential
from docuchat_gateway.edge.cross_origin import CrossOrigin
from docuchat_gateway.edge.limits import RateLimit
from docuchat_gateway.edge.mcp import McpEdge
from docuchat_gateway.edge.openai_errors import OpenAIErrors
from docuchat_gateway.edge.routes import service_routes
from docuchat_gateway.edge.security_headers import SecurityHeaders
from docuchat_gateway.edge.socket import socket_route
from docuchat_gateway.edge.socket_document import router as socket_document_router
from docuchat_gateway.edge.tickets import EventTicket
from docuchat_gateway.events import routes as event_routes
from docuchat_gateway.exports import routes as export_routes
from docuchat_gateway.operator import routes as operator_routes
from docuchat_gateway.settings import Settings
from docuchat_gateway.widget import routes as widget_routes

DESCRIPTION = """\
Upload documents, ask about them, get streamed answers with citations; every token is metered.

Sign in with `POST /v1/auth/login` or, without a password, `/v1/auth/request-code` and `/v1/auth/verify-code`; then send
the `access_token` as `Authorization: Bearer`. `X-Tenant-ID` (id, customer id or slug) names the tenant when signing in,
where there are several; afterwards the token does. A program sends an API key (`POST /v1/api-keys`) instead, as
`X-API-Key` or as `Authorization: Bearer`.
Errors are RFC 9457 problems with a stable `code`.

**Texts.** What models and documents say - titles, file names, texts of pages and passages, quotes, answers - is
harmless to whoever renders it as text, Markdown or HTML: a space ends the meaning of images, tags and links that lead
elsewhere than to http, https, mailto or a relative address, and characters that move the cursor or turn the direction
of what follows are left out. It is the same everywhere, so quotes agree with their passages. `char_start` and
`char_end` count in the document's own text. Only `/v1/files/{id}/content` is the file as it was uploaded: do not run
it. What users write themselves, their messages, comes back as it was sent.

**WebSocket `/ws/chat`** — token by `Authorization`, by the sub-protocols `docuchat, <token>`, or as `?token=`. Send
`{"message": "…"}`, `{"resume": turn_id, "after": seq}` or `{"stop": turn_id}`; receive `start`, `sources`, `delta`,
`end` and `error`. As AsyncAPI: `/asyncapi.json`.
"""


def create_app(
    settings: Settings,
    open_container: Callable[[Settings], AbstractAsyncContextManager[Container]] = open_container,
) -> FastAPI:
    """The whole public surface as one ASGI application."""
    app = create_service_app(
        settings,
        title="DocuChat",
        description=DESCRIPTION,
        routers=[
            upload_routes.router,
            file_routes.router,
            document_routes.router,
            passage_routes.router,
            collection_routes.router,
            event_routes.router,
            export_routes.router,
            operator_routes.router,
            widget_routes.router,
            home.router,
            pages.router,
            socket_document_router,
            mcp.router,
            health_router(public=True),
        ],
        open_container=open_container,
    )
    home.mount_assets(app)
    pages.mount_pages(app)
    # first, because they are asked for most and matched in order
    app.router.routes[:0] = [socket_route(), *service_routes()]
    # inside of the request context, which create_service_app put outermost: errors of these have a request id, too
    app.user_middleware.append(Middleware(Aliases))
    app.user_middleware.append(Middleware(CrossOrigin, origins=settings.origins))
    app.user_middleware.append(Middleware(SecurityHeaders))
    app.user_middleware.append(Middleware(OpenAIErrors))  # around all that refuses
    app.user_middleware.append(Middleware(McpEdge))
    app.user_middleware.append(Middleware(ApiKeyCredential))
    app.user_middleware.append(Middleware(EventTicket))
    app.user_middleware.append(Middleware(RateLimit))
    own = app.openapi

    @cache
    def openapi() -> dict[str, Any]:
        return openapi_document.describe(openapi_document.merge(own(), openapi_document.load_snapshots()))

    app.openapi = openapi  # type: ignore[method-assign]
    return app
