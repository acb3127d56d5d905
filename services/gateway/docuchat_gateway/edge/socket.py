"""`WS /ws/chat`: a conversation over one socket; each message becomes a streamed request to chat, relayed as bytes.

Client to server: `{message, session_id?, chat_id?, model?, document_ids?, collection_id?}`,
`{resume: turn_id, after: seq}`, `{stop: turn_id}`. Server to client: `start`, `sources`, `delta`, `end`, `error`, as
chat writes them.
"""

import asyncio
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import UUID

import aiohttp
import orjson
import structlog
from prometheus_client import Counter, Gauge
from starlette.datastructures import Headers
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from docuchat_common.errors import DocuChatError, Forbidden, Unauthenticated
from docuchat_common.http.client import error_from_response
from docuchat_common.http.identity import Principal, TokenExpired, assert_same_tenant
from docuchat_common.http.problems import response_for
from docuchat_gateway.edge.errors import BadFrame, Busy, FrameTooLarge, OriginRefused, ServiceDown
from docuchat_gateway.edge.limits import refusal
from docuchat_gateway.edge.requests import client_address
from docuchat_gateway.event_stream import error_frame, events_of

logger = structlog.get_logger()

PATH: Final = "/ws/chat"
SUBPROTOCOL: Final = "docuchat"

CLOSE_UNAUTHENTICATED: Final = 4401
CLOSE_FORBIDDEN: Final = 4403
CLOSE_IDLE: Final = 4408
CLOSE_TRY_LATER: Final = 1013

MAX_RESUMES: Final = 4
"""Turns that one socket may follow at once, beside the one it asked for."""
MAX_STOPS: Final = 8
"""Stops of one socket that may be on their way at once; they are not counted by the rate limit."""

_PASSED_ON: Final = ("message", "session_id", "chat_id", "model", "document_ids", "collection_id")

_open = Gauge("docuchat_sockets", "WebSockets that are open.")
_slow = Counter("docuchat_sockets_dropped", "WebSockets that were dropped because their client did not read.")


class _SlowClient(Exception):
    """The client does not read."""


def socket_route() -> WebSocketRoute:
    """The WebSocket as a plain ASGI application: no layer between the relay and the server."""
    return WebSocketRoute(PATH, _endpoint, name="chat-socket")


async def _endpoint(websocket: WebSocket) -> None:
    scope = websocket.scope
    scope["route_template"] = PATH
    container = scope["app"].state.container
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    if origin is not None and not container.settings.allows_origin(origin):
        # a browser sends this header whether the page wants it or not: it keeps other sites' pages out
        await websocket.send_denial_response(response_for(OriginRefused(), scope.get("request_id")))
        return
    offered: list[str] = scope.get("subprotocols", [])
    await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
    session = ChatSocket(scope, websocket.receive, websocket.send)
    try:
        principal = await container.verifier.verify(_token_of(headers, scope, offered))
        assert_same_tenant(principal, headers.get(container.settings.tenant_header) or _query(scope, "tenant"))
    except DocuChatError as error:
        # after `accept`, because a page is shown neither status nor body of a refused handshake
        await session.refuse(error)
        return
    with _open.track_inprogress():
        await session.run(principal)


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


class ChatSocket:
    """One accepted socket."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._container = scope["app"].state.container
        self._settings = self._container.settings
        self._address = client_address(scope)
        self._receive = receive
        self._send = send
        self._turn: asyncio.Task[None] | None = None
        self._resumes: set[asyncio.Task[None]] = set()
        self._commands: set[asyncio.Task[None]] = set()
        self._dropped = asyncio.Event()
        self._headers: dict[str, str] = {}

    async def refuse(self, error: DocuChatError) -> None:
        """Say why, and close."""
        code = CLOSE_FORBIDDEN if isinstance(error, Forbidden) else CLOSE_TRY_LATER
        if isinstance(error, Unauthenticated):
            code = CLOSE_UNAUTHENTICATED
        with suppress(_SlowClient, OSError, RuntimeError):
            await self._error(error)
            await self._send({"type": "websocket.close", "code": code, "reason": error.code})

    async def run(self, principal: Principal) -> None:
        """Serve until the client leaves, its token ends, it is idle for long, or it does not read."""
        self._principal = principal
        self._headers = {
            "Authorization": f"Bearer {principal.token}",
            self._settings.tenant_header: str(principal.tenant_id),
        }
        dropped = asyncio.create_task(self._dropped.wait())
        incoming: asyncio.Task[Any] | None = None
        try:
            idle_since = time.monotonic()
            while True:
                if incoming is None:
                    incoming = asyncio.create_task(self._receive())  # type: ignore[arg-type]  # a coroutine, as ASGI has it
                token_left = principal.expires_at - time.time()
                idle_left = idle_since + self._settings.socket_idle_seconds - time.monotonic()
                await asyncio.wait(
                    {incoming, dropped},
                    timeout=max(0.0, min(token_left, idle_left)),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if dropped.done():
                    return
                if incoming.done():
                    message = incoming.result()
                    incoming = None
                    if message["type"] == "websocket.disconnect":
                        return
                    idle_since = time.monotonic()
                    await self._accept(message.get("text"))
                elif time.time() >= principal.expires_at:
                    await self.refuse(TokenExpired())
                    return
                elif self._running():
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since >= self._settings.socket_idle_seconds:
                    with suppress(OSError, RuntimeError):
                        await self._send({"type": "websocket.close", "code": CLOSE_IDLE, "reason": "idle"})
                    return
        except (_SlowClient, OSError):
            return
        finally:
            tasks = {dropped, *self._running()}
            if incoming is not None:
                tasks.add(incoming)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _running(self) -> set[asyncio.Task[None]]:
        own = {self._turn} if self._turn is not None and not self._turn.done() else set()
        return own | self._resumes | self._commands

    async def _accept(self, text: str | None) -> None:
        try:
            if text is None:
                raise BadFrame
            if len(text) > self._settings.socket_max_message_bytes:
                raise FrameTooLarge(max_bytes=self._settings.socket_max_message_bytes)
            try:
                frame = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                raise BadFrame('This is not JSON; send an object such as {"message": "…"}.') from error
            if not isinstance(frame, dict):
                raise BadFrame
            if "stop" in frame:
                self._begin_stop(_turn_id(frame["stop"]))
            elif "resume" in frame:
                await self._count()
                if len(self._resumes) >= MAX_RESUMES:
                    raise Busy(f"This socket follows {MAX_RESUMES} turns already.")
                turn_id = _turn_id(frame["resume"])
                after = frame.get("after", 0)
                if isinstance(after, bool) or not isinstance(after, int) or after < 0:
                    raise BadFrame("`after` is the `seq` of the last delta you have, a whole number from 0.")
                self._start(
                    self._resumes, self._follow("GET", f"/v1/turns/{turn_id}/events?after={after}", None, turn_id)
                )
            elif isinstance(frame.get("message"), str) and frame["message"].strip():
                if self._turn is not None and not self._turn.done():
                    raise Busy
                await self._count()
                self._turn = asyncio.create_task(self._follow("POST", "/v1/chat", _question(frame), None))
            else:
                raise BadFrame("The frame has no `message` with text.")
        except DocuChatError as error:
            await self._error(error)

    def _begin_stop(self, turn_id: str) -> None:
        if len(self._commands) >= MAX_STOPS:
            raise Busy("Too many stops at once; wait for the ends of their turns.")
        self._start(self._commands, self._stop(turn_id))

    def _start(self, tasks: "set[asyncio.Task[None]]", work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _count(self) -> None:
        principal = self._principal
        user = f"{principal.tenant_id}:{principal.user_id}"
        decision = await self._container.limiter.hit(address=self._address, user=user)
        if decision is not None and not decision.allowed:
            raise refusal(decision)

    async def _stop(self, turn_id: str) -> None:
        patience = timedelta(seconds=self._settings.upstream_timeout_seconds)
        try:
            response = await self._container.upstreams.chat.send(
                "POST", f"/v1/turns/{turn_id}/stop", headers=self._headers, body=b"", patience=patience
            )
            async with response:
                await _raise_problem(response)
        except DocuChatError as error:
            with suppress(_SlowClient, OSError, RuntimeError):
                await self._error(error, turn_id=turn_id)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            logger.warning("socket.stop_failed", error=type(error).__name__)

    async def _follow(self, method: str, target: str, body: bytes | None, turn_id: str | None) -> None:
        """Relay one stream of chat's to the client, frame by frame."""
        chat = self._container.upstreams.chat
        headers = self._headers | {"Accept": "text/event-stream"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        named = {} if turn_id is None else {"turn_id": turn_id}
        try:
            try:
                response = await chat.send(
                    method, target, headers=headers, body=body, patience=self._settings.chat_patience
                )
                async with response:
                    await _raise_problem(response)
                    if turn := response.headers.get("X-Turn-ID"):
                        named["turn_id"] = turn
                    ended = False
                    try:
                        async for batch in events_of(response):
                            ended = batch[-1].startswith((b'{"type":"end"', b'{"type":"error"'))
                            if ended:
                                self._make_way()
                            await self._frames(batch)
                    except (aiohttp.ClientError, TimeoutError) as error:
                        raise chat.down(error) from error
                    if not ended:
                        raise ServiceDown("The answer broke off; resume it with its turn_id and the last seq you have.")
            except DocuChatError as error:
                await self._error(error, **named)
        except (_SlowClient, OSError, RuntimeError):
            self._dropped.set()

    def _make_way(self) -> None:
        """The client may ask again as soon as it has read the end, while this task still waits for chat to close."""
        current = asyncio.current_task()
        if current is None or self._turn is not current:
            return
        self._turn = None
        self._commands.add(current)
        current.add_done_callback(self._commands.discard)

    async def _frames(self, batch: list[bytes]) -> None:
        # the server's own buffer holds 64 KB; when it is full `send` waits, we read no more, and chat is slowed down
        try:
            async with asyncio.timeout(self._settings.socket_send_seconds):
                for data in batch:
                    await self._send({"type": "websocket.send", "text": data.decode()})
        except TimeoutError as error:
            _slow.inc()
            logger.warning("socket.slow_client")
            raise _SlowClient from error

    async def _error(self, error: DocuChatError, **more: str) -> None:
        await self._frames([orjson.dumps(error_frame(error, **more), default=str)])


def _question(frame: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps({key: frame[key] for key in _PASSED_ON if frame.get(key) is not None} | {"stream": True})
    except orjson.JSONEncodeError as error:
        raise BadFrame("The frame is nested too deeply.") from error


def _turn_id(value: object) -> str:
    try:
        return str(UUID(value if isinstance(value, str) else ""))
    except ValueError as error:
        raise BadFrame("`resume` and `stop` take the `turn_id` of a `start` frame.") from error


async def _raise_problem(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        raise error_from_response(response.status, await response.read(), response.headers, "chat")
