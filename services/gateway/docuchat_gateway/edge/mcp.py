"""The Model Context Protocol at the edge: which pages may speak it, and where a client learns how to sign in.

What is passed on stands in the table. Resource metadata are RFC 9728; they name no authorization server, because there
is none: a client shows an access token or an API key that its user was given.
"""

from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import public
from docuchat_common.http.problems import response_for
from docuchat_common.http.provided import provided
from docuchat_gateway.edge.errors import OriginRefused

PATH: Final = "/mcp"
METADATA: Final = "/.well-known/oauth-protected-resource"

router = APIRouter(route_class=JsonRoute, tags=["mcp"])

PublicUrl = Annotated[str, provided("settings.public_url")]


class ProtectedResource(BaseModel):
    """What RFC 9728 has a server say of itself."""

    resource: str = Field(description="The address of the MCP server.")
    resource_name: str
    resource_documentation: str
    bearer_methods_supported: list[str]
    scopes_supported: list[str] = Field(description="What the tools ask of an API key: `search` and the like, `ask`.")

    @classmethod
    def at(cls, public_url: str) -> "ProtectedResource":
        return cls(
            resource=f"{public_url}{PATH}",
            resource_name="DocuChat",
            resource_documentation=f"{public_url}/docs",
            bearer_methods_supported=["header"],
            scopes_supported=["documents.read", "chats.use"],
        )


@router.get(METADATA, summary="What the MCP server asks of a credential")
@public
async def protected_resource(public_url: PublicUrl) -> ProtectedResource:
    """Say how a client of the MCP server signs in: with an access token or an API key, as a bearer token (RFC 9728).

    There is no authorization server to send its user to.
    """
    return ProtectedResource.at(public_url)


@router.get(f"{METADATA}{PATH}", summary="What the MCP server asks of a credential, by its path")
@public
async def protected_resource_of_mcp(public_url: PublicUrl) -> ProtectedResource:
    """As `/.well-known/oauth-protected-resource`: where RFC 9728 looks for a resource that has a path."""
    return ProtectedResource.at(public_url)


class McpEdge:
    """Refuses pages that may not call, and tells whoever has no good credential where to read on.

    A browser says for which page it calls. Only a page of our own or of FRONTEND_ORIGIN gets in, by whatever name it
    reached this host, so that a name that was bent to lead here (DNS rebinding) opens nothing. A program says nothing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        settings = scope["app"].state.container.settings
        origins = Headers(scope=scope).getlist("origin")
        own = _origin_of(settings.public_url)
        if not all(origin == own or settings.allows_origin(origin) for origin in origins):
            await response_for(OriginRefused(), scope.get("request_id"))(scope, receive, send)
            return

        async def send_with_metadata(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:
                headers = MutableHeaders(scope=message)
                headers["WWW-Authenticate"] = f'Bearer resource_metadata="{settings.public_url}{METADATA}{PATH}"'
            await send(message)

        await self._app(scope, receive, send_with_metadata)


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
