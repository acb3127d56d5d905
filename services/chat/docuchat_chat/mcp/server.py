"""The way from a request to the protocol: its message is looked at once, and the SDK is loaded when it is needed."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Final
from uuid import UUID, uuid4

import orjson
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from docuchat_chat.mcp.asking import Asking
from docuchat_chat.mcp.tools import Toolbox
from docuchat_common.acts import acting, current_act
from docuchat_common.http.caller import Caller
from docuchat_common.http.refusals import Refusals

SESSION_HEADER: Final = "mcp-session-id"
VERSION_HEADER: Final = "mcp-protocol-version"
_LONGEST_SESSION: Final = 64
_PARSE_ERROR, _INVALID_REQUEST = -32700, -32600


class McpServer:
    """Serves the protocol."""

    def __init__(self, tools: Toolbox, asking: Asking, refusals: Refusals) -> None:
        self._tools = tools
        self._asking = asking
        self._refusals = refusals
        self._loading = asyncio.Lock()
        self._manager: Any = None
        self._running: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, tools: Toolbox, asking: Asking, refusals: Refusals) -> AsyncIterator[McpServer]:
        """A server that is closed when the block ends."""
        server = cls(tools, asking, refusals)
        try:
            yield server
        finally:
            server._closing.set()
            if server._running is not None:
                await server._running
            await asking.close()

    async def answer(self, caller: Caller, headers: Mapping[str, str], body: bytes) -> Response:
        """Return the answer to one message of a caller."""
        try:
            message = orjson.loads(body)
        except orjson.JSONDecodeError:
            return _refusal(_PARSE_ERROR, "The body is not JSON.")
        if not isinstance(message, dict):
            return _refusal(_INVALID_REQUEST, "Send one JSON-RPC message at a time.")
        session, method, name = headers.get(SESSION_HEADER), message.get("method"), None
        if session is not None and _is_session(session):
            if method == "notifications/cancelled" and "id" not in message:
                cancelled = message.get("params")
                if isinstance(cancelled, dict) and "requestId" in cancelled:
                    await self._asking.cancel(caller, _call_name(caller, session, cancelled["requestId"]))
                return Response(status_code=202)
            if method == "tools/call" and "id" in message:
                name = _call_name(caller, session, message["id"])
        opens = method == "initialize"
        return _Answer(await self._loaded(), caller, body, name=name, session=str(uuid4()) if opens else None)

    async def _loaded(self) -> Any:
        async with self._loading:
            if self._manager is None:
                protocol = await asyncio.to_thread(importlib.import_module, "docuchat_chat.mcp.protocol")
                manager = protocol.make_manager(self._tools, self._refusals)
                started = asyncio.Event()
                self._running = asyncio.create_task(self._run(manager, started))
                await started.wait()
                self._manager = manager
        return self._manager

    async def _run(self, manager: Any, started: asyncio.Event) -> None:
        async with manager.run():
            started.set()
            await self._closing.wait()


class _Answer(Response):
    """Has the SDK answer a message that was read already."""

    def __init__(self, manager: Any, caller: Caller, body: bytes, *, name: str | None, session: str | None) -> None:
        """`session` is the name that the answer gives the client, to say later which call it cancels."""
        self._manager = manager
        self._caller = caller
        self._body = body
        self._name = name
        self._session = session
        self._act = current_act()
        self.status_code = 200
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        rest: list[Message] = [{"type": "http.request", "body": self._body, "more_body": False}]

        async def again() -> Message:
            return rest.pop() if rest else await receive()

        async def send_with_session(message: Message) -> None:
            if self._session is not None and message["type"] == "http.response.start" and message["status"] == 200:
                session = (SESSION_HEADER.encode(), self._session.encode())
                message["headers"] = [*message.get("headers", ()), session]
            await send(message)

        told = {"docuchat.caller": self._caller, "docuchat.call_name": self._name}
        with nullcontext() if self._act is None else acting(self._act):
            await self._manager.handle_request({**scope, **told}, again, send_with_session)


def _refusal(code: int, text: str) -> Response:
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": text}}
    return Response(orjson.dumps(body), 400, media_type="application/json")


def _is_session(text: str) -> bool:
    """Tell whether it is a name that we gave; two clients of one caller must not have the same."""
    if len(text) > _LONGEST_SESSION:
        return False
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _call_name(caller: Caller, session: str, request_id: object) -> str:
    told = orjson.dumps([session, str(request_id)])
    return f"{caller.subject}:{hashlib.sha256(told).hexdigest()[:32]}"
