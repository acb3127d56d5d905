"""`WS /ws/chat`: the handshake. Who connects, from which page, and how many sockets they have open."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final
from urllib.parse import parse_qs

from prometheus_client import Gauge
from starlette.datastructures import Headers
from starlette.routing import WebSocketRoute
from starlette.types import Scope
from starlette.websockets import WebSocket

from docuchat_common.errors import DocuChatError, RateLimited, Unauthenticated
from docuchat_common.http.addresses import limited_address
from docuchat_common.http.identity import assert_same_origin, assert_same_tenant
from docuchat_common.http.problems import response_for
from docuchat_gateway.edge.errors import OriginRefused, TooManySockets
from docuchat_gateway.edge.limits import REFUSED, refusal
from docuchat_gateway.edge.requests import client_address
from docuchat_gateway.edge.session import ChatSession

PATH: Final = "/ws/chat"
SUBPROTOCOL: Final = "docuchat"

_open = Gauge("docuchat_sockets", "WebSockets that are open.")


def too_many_sockets(of: str) -> Callable[[int], TooManySockets]:
    """The refusal of another socket of this user or address."""

    def refuse(limit: int) -> TooManySockets:
        return TooManySockets(
            f"This {of} has {limit} sockets open; close one first. One socket can follow several turns.",
            retry_after=timedelta(seconds=5),
            limit=limit,
        )

    return refuse


def socket_route() -> WebSocketRoute:
    """The WebSocket as a plain ASGI application: no layer between the relay and the server."""
    return WebSocketRoute(PATH, _endpoint, name="chat-socket")


async def _endpoint(websocket: WebSocket) -> None:
    scope = websocket.scope
    scope["route_template"] = PATH
    container = scope["app"].state.container
    origin = websocket.headers.get("origin")
    try:
        if origin is not None and not container.settings.allows_origin(origin):
            # a browser sends this header whether the page wants it or not: it keeps other sites' pages out
            raise OriginRefused
        with container.sockets_of_address.one_more(limited_address(client_address(scope))), _open.track_inprogress():
            await _serve(websocket)
    except (OriginRefused, RateLimited) as error:
        await websocket.send_denial_response(response_for(error, scope.get("request_id")))


async def _serve(websocket: WebSocket) -> None:
    scope = websocket.scope
    container = scope["app"].state.container
    offered: list[str] = scope.get("subprotocols", [])
    session = ChatSession(scope, websocket.receive, websocket.send)
    refused: DocuChatError | None = None
    try:
        if REFUSED in scope:
            raise scope[REFUSED]
        identity = await container.verifier.verify(_token_of(websocket.headers, scope, offered))
        named = websocket.headers.get(container.settings.tenant_header) or _query(scope, "tenant")
        assert_same_tenant(identity, named)
        assert_same_origin(identity, websocket.headers)
        container.verifier.permit(identity, "chats.use", "POST")
    except DocuChatError as error:
        decision = await container.limits.hit_address(client_address(scope))
        if decision is not None and not decision.allowed:
            raise refusal(decision) from error
        refused = error
    # also when refused, because a page is shown neither status nor body of a handshake that fails
    await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
    try:
        if refused is not None:
            raise refused
        with (
            container.sockets_of_user.one_more(identity.caller.holder),
            container.verifier.standing.following(identity, "POST") as ended,
        ):
            await session.run(identity, ended)
    except DocuChatError as error:
        await session.refuse(error)


def _query(scope: Scope, name: str) -> str | None:
    values = parse_qs(scope.get("query_string", b"").decode("latin-1")).get(name)
    return values[0] if values else None


def _token_of(headers: Headers, scope: Scope, offered: list[str]) -> str:
    """The token of the `Authorization` header, of the sub-protocols (`docuchat, <token>`), or of `?token=`."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    if SUBPROTOCOL in offered:
        for protocol in offered:
            if protocol.count(".") == 2:
                return protocol
    token = _query(scope, "token") or ""
    if token:
        return token
    raise Unauthenticated(
        "Send an access token: as `Authorization: Bearer`, as sub-protocols `docuchat, <token>`, or as `?token=`."
    )
