"""Requests that are passed on: the table of what goes where, and the response that relays bytes as they come."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

import aiohttp
from orjson import dumps
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from docuchat_common.errors import DocuChatError, PayloadTooLarge
from docuchat_common.http.identity import INTERNAL_HEADER
from docuchat_common.http.problems import response_for
from docuchat_gateway.ports import Upstream

ServiceName = Literal["auth", "chat", "usage"]


@dataclass(frozen=True, slots=True)
class Row:
    """One public path of a service behind; `public` ones need no token, `slow` ones wait for a model."""

    path: str
    methods: tuple[str, ...]
    service: ServiceName
    public: bool = False
    slow: bool = False


# Every path is named: what is not here is not reachable from outside, least of all /internal.
TABLE: Final[tuple[Row, ...]] = (
    Row("/v1/chat", ("POST",), "chat", slow=True),
    Row("/v1/turns/{turn_id}/stop", ("POST",), "chat"),
    Row("/v1/turns/{turn_id}/events", ("GET",), "chat", slow=True),
    Row("/v1/chats", ("GET", "POST"), "chat"),
    Row("/v1/chats/{chat_id}", ("GET", "PATCH", "PUT", "DELETE"), "chat"),
    Row("/v1/messages", ("GET", "POST"), "chat"),
    Row("/v1/search", ("GET",), "chat"),
    Row("/.well-known/jwks.json", ("GET",), "auth", public=True),
    Row("/v1/auth/request-code", ("POST",), "auth", public=True),
    Row("/v1/auth/verify-code", ("POST",), "auth", public=True),
    Row("/v1/auth/refresh", ("POST",), "auth", public=True),
    Row("/v1/auth/logout", ("POST",), "auth", public=True),
    Row("/v1/users/me", ("GET",), "auth"),
    Row("/v1/usage", ("GET",), "usage"),
)

# RFC 9110 §7.6.1, and what the gateway says itself
_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_FORWARDED: Final = _HOP_BY_HOP | {
    "host",
    "content-length",
    "expect",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
    "traceparent",
    "tracestate",
    INTERNAL_HEADER.lower(),
}
_NOT_RETURNED: Final = _HOP_BY_HOP | {"date", "server", "x-request-id"}


def client_address(scope: Scope) -> str:
    """The client's address; behind a proxy the one it names, when the server trusts it (FORWARDED_ALLOW_IPS)."""
    client = scope.get("client")
    return client[0] if client else "unknown"


def forwarded_headers(headers: Headers) -> dict[str, str]:
    """What of a client's headers goes to the service behind."""
    named = {name.strip().lower() for name in headers.get("connection", "").split(",")}
    return {name: value for name, value in headers.items() if name not in _NOT_FORWARDED and name not in named}


def raw_target(scope: Scope) -> str:
    """Path and query as the client wrote them."""
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    return (raw_path.split(b"?", 1)[0] + (b"?" + query if query else b"")).decode("ascii", errors="replace")


async def read_bounded(request: Request, limit: int) -> bytes | None:
    """The whole body, None when there is none; PayloadTooLarge as soon as it is longer than `limit` bytes."""
    too_large = PayloadTooLarge(f"The request is larger than {limit} bytes.", max_bytes=limit)
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    if not declared and "transfer-encoding" not in request.headers:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise too_large
    return bytes(body)


class RelayedResponse(Response):
    """Sends a request to the service behind when it is called, and relays the answer chunk by chunk, unbuffered.

    Nothing is parsed. A client that hangs up closes the connection behind as well. A service that breaks off in the
    midst of an event stream is told as an `error` event; any other body is cut, so that nobody takes it for whole.
    """

    def __init__(
        self,
        upstream: Upstream,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        patience: timedelta,
        request_id: str | None,
    ) -> None:
        self._upstream = upstream
        self._method = method
        self._target = target
        self._request_headers = headers
        self._body = body
        self._patience = patience
        self._request_id = request_id
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        relay = asyncio.create_task(self._relay(scope, receive, send))
        hangup = asyncio.create_task(_hangup(receive))
        try:
            await asyncio.wait({relay, hangup}, return_when=asyncio.FIRST_COMPLETED)
            if relay.done():
                relay.result()
        finally:
            hangup.cancel()
            if not relay.done():
                relay.cancel()
                with suppress(asyncio.CancelledError):
                    await relay

    async def _relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._upstream.send(
                self._method, self._target, headers=self._request_headers, body=self._body, patience=self._patience
            )
        except DocuChatError as error:
            await response_for(error, self._request_id)(scope, receive, send)
            return
        async with response:
            events = response.content_type == "text/event-stream"
            raw_headers = [
                (name.lower(), value)
                for name, value in response.raw_headers
                if name.lower().decode("latin-1") not in _NOT_RETURNED
            ]
            if events:
                raw_headers.append((b"x-accel-buffering", b"no"))  # nginx in front must not collect events either
            await send({"type": "http.response.start", "status": response.status, "headers": raw_headers})
            last = b"\n\n"
            try:
                async for chunk in response.content.iter_any():
                    last = chunk
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                down = self._upstream.down(error)
                if not (events and last.endswith(b"\n\n")):
                    return  # the server cuts a response that its application did not complete
                turn_id = response.headers.get("X-Turn-ID")
                told = broken_off(down, **({"turn_id": turn_id} if turn_id else {}))
                await send({"type": "http.response.body", "body": told, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _hangup(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def broken_off(error: DocuChatError, **more: str) -> bytes:
    """The event that tells the client that its stream ended early; with a `turn_id` it can be resumed."""
    return b"event: error\ndata: " + dumps(error_frame(error, **more)) + b"\n\n"


def error_frame(error: DocuChatError, **more: str) -> dict[str, object]:
    """An error as it stands in event streams and on the WebSocket."""
    frame: dict[str, object] = {"type": "error", "code": error.code, "message": error.detail, **more}
    if error.retry_after is not None:
        frame["retry_after"] = max(1, round(error.retry_after.total_seconds()))
    return frame | {key: value for key, value in error.extensions.items() if key not in frame}


async def events_of(response: aiohttp.ClientResponse) -> AsyncIterator[list[bytes]]:
    """The `data` of server-sent events, in batches of what arrived together; our services write each as one line."""
    rest = b""
    async for chunk in response.content.iter_any():
        *blocks, rest = (rest + chunk).split(b"\n\n")
        batch = []
        for block in blocks:
            start = 0 if block.startswith(b"data: ") else block.find(b"\ndata: ") + 1
            if start or block.startswith(b"data: "):
                batch.append(block[start + 6 :])
        if batch:
            yield batch
