"""A conversation over one socket: each message becomes a streamed request to chat, whose frames are relayed as bytes.

Client to server: `{message, session_id?, chat_id?, model?, document_ids?, collection_id?}`,
`{resume: turn_id, after: seq}`, `{stop: turn_id}`, each with an `id` if the client likes, which stands in every frame
that the message causes. Server to client: `start`, `sources`, `delta`, `end`, `error`, as chat writes them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Final, TypeVar

import aiohttp
import orjson
import structlog
from pydantic import BaseModel, ValidationError
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from docuchat_common.contracts.frames import (
    LAST_FRAMES,
    AskMessage,
    EventReader,
    ResumeMessage,
    StopMessage,
    dump_frame,
    error_frame,
    with_message_id,
)
from docuchat_common.errors import DocuChatError, Forbidden, Unauthenticated, UpstreamUnavailable
from docuchat_common.http.claims import Identity
from docuchat_common.http.client import error_from_response
from docuchat_common.http.identity import INTERNAL_HEADER, TokenExpired
from docuchat_common.http.json_body import without_surplus
from docuchat_gateway.edge.api_keys import RENEW
from docuchat_gateway.edge.errors import BadFrame, Busy, FrameTooLarge
from docuchat_gateway.edge.limits import refusal
from docuchat_gateway.edge.requests import client_address

logger = structlog.get_logger()

CLOSE_UNAUTHENTICATED: Final = 4401
CLOSE_FORBIDDEN: Final = 4403
CLOSE_IDLE: Final = 4408
CLOSE_TRY_LATER: Final = 1013
CLOSE_CODES: Final = {
    CLOSE_UNAUTHENTICATED: "the token is missing, wrong, expired, `token_outdated` or of a `session_ended`",
    CLOSE_FORBIDDEN: "the tenant is not the token's, the caller may not chat, or the tenant is suspended",
    CLOSE_IDLE: "nothing was sent for long, and no turn runs; no frame",
    CLOSE_TRY_LATER: "too many sockets of this user, or a part that is needed does not answer",
}
"""When a socket is closed with which code, for the documents of the API."""

MAX_RESUMES: Final = 4
"""Turns that one socket may follow at once, beside the one it asked for."""
MAX_STOPS: Final = 8
"""Stops of one socket that may be on their way at once. The first of a turn that it follows is not counted."""


class _Gone(Exception):
    """The client has left, or was dropped."""


class ChatSession:
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
        self._stoppable: set[str] = set()
        self._gone = asyncio.Event()
        self._headers: dict[str, str] = {}
        self._renew: Callable[[], Awaitable[Identity]] | None = scope.get(RENEW)

    async def refuse(self, error: DocuChatError) -> None:
        """Say why, and close."""
        code = CLOSE_FORBIDDEN if isinstance(error, Forbidden) else CLOSE_TRY_LATER
        if isinstance(error, Unauthenticated):
            code = CLOSE_UNAUTHENTICATED
        with suppress(_Gone):
            await self._error(error)
            await self._push({"type": "websocket.close", "code": code, "reason": error.code})

    async def run(self, identity: Identity, ended: asyncio.Future[DocuChatError]) -> None:
        """Serve until the client leaves, is idle for long or does not read, or `ended` says why.

        A token that ends is TokenExpired; one of an API key is replaced, as long as the key is good.
        """
        self._identity = identity
        self._headers = {
            "Authorization": f"Bearer {identity.token}",
            self._settings.tenant_header: str(identity.caller.tenant_id),
            "X-Forwarded-For": self._address,
            INTERNAL_HEADER: self._settings.internal_token.get_secret_value(),
        }
        gone = asyncio.create_task(self._gone.wait())
        incoming: asyncio.Task[Any] | None = None
        try:
            idle, idle_since = self._settings.socket_idle.total_seconds(), time.monotonic()
            while True:
                if incoming is None:
                    incoming = asyncio.create_task(self._receive())  # type: ignore[arg-type]  # a coroutine, as ASGI has it
                token_left = identity.expires_at - time.time()
                idle_left = idle_since + idle - time.monotonic()
                await asyncio.wait(
                    {incoming, gone, ended},
                    timeout=max(0.0, min(token_left, idle_left)),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if gone.done():
                    return
                if ended.done():
                    await self._stop_relaying()
                    await self.refuse(ended.result())
                    return
                if incoming.done():
                    message = incoming.result()
                    incoming = None
                    if message["type"] == "websocket.disconnect":
                        return
                    idle_since = time.monotonic()
                    await self._accept(message.get("text"))
                elif time.time() >= identity.expires_at:
                    identity = await self._renewed()
                elif self._running():
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since >= idle:
                    await self._push({"type": "websocket.close", "code": CLOSE_IDLE, "reason": "idle"})
                    return
        except _Gone:
            return
        finally:
            gone.cancel()
            if incoming is not None:
                incoming.cancel()
                await asyncio.gather(incoming, return_exceptions=True)
            await self._stop_relaying()

    async def _renewed(self) -> Identity:
        if self._renew is None:
            raise TokenExpired
        self._identity = await self._renew()
        self._headers["Authorization"] = f"Bearer {self._identity.token}"
        return self._identity

    async def _stop_relaying(self) -> None:
        tasks = self._running()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _running(self) -> set[asyncio.Task[None]]:
        own = {self._turn} if self._turn is not None and not self._turn.done() else set()
        return own | self._resumes | self._commands

    async def _accept(self, text: str | None) -> None:
        by: str | None = None
        try:
            frame = self._parse(text)
            by = _message_id(frame)
            if "stop" in frame:
                stop = _valid(StopMessage, frame)
                if str(stop.stop) in self._stoppable:
                    self._stoppable.discard(str(stop.stop))  # once: who asked may always end it
                else:
                    await self._count()
                if len(self._commands) >= MAX_STOPS:
                    raise Busy("Too many stops at once; wait for the ends of their turns.")
                self._start(self._commands, self._stop(str(stop.stop), by))
            elif "resume" in frame:
                resume = _valid(ResumeMessage, frame)
                await self._count()
                if len(self._resumes) >= MAX_RESUMES:
                    raise Busy(f"This socket follows {MAX_RESUMES} turns already.")
                target = f"/v1/turns/{resume.resume}/events?after={resume.after}"
                self._start(self._resumes, self._follow("GET", target, None, str(resume.resume), by))
            elif isinstance(frame.get("message"), str):
                if self._turn is not None and not self._turn.done():
                    raise Busy
                await self._count()
                self._turn = asyncio.create_task(self._follow("POST", "/v1/chat", _question(frame), None, by))
            else:
                raise BadFrame("The frame has no `message` that is a text.")
        except DocuChatError as error:
            await self._error(error, by)

    def _parse(self, text: str | None) -> dict[str, Any]:
        if text is None:
            raise BadFrame
        limit = self._settings.socket_max_message_bytes
        if len(text) > limit:
            raise FrameTooLarge(f"The message is longer than {limit} bytes.", max_bytes=limit)
        try:
            frame = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise BadFrame('This is not JSON; send an object such as {"message": "…"}.') from error
        if not isinstance(frame, dict):
            raise BadFrame
        return frame

    def _start(self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _count(self) -> None:
        self._container.verifier.recheck(self._identity, "chats.use", "POST")
        decision = await self._container.limits.hit_caller(self._identity.caller.holder)
        if decision is not None and not decision.allowed:
            raise refusal(decision)

    async def _stop(self, turn_id: str, by: str | None) -> None:
        patience = self._settings.upstream_timeout
        try:
            response = await self._container.upstreams.chat.send(
                "POST", f"/v1/turns/{turn_id}/stop", headers=self._headers, body=b"", patience=patience
            )
            async with response:
                await _raise_problem(response)
        except DocuChatError as error:
            with suppress(_Gone):
                await self._error(error, by, turn_id=turn_id)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            logger.warning("socket.stop_failed", error=type(error).__name__)

    async def _follow(self, method: str, target: str, body: bytes | None, turn_id: str | None, by: str | None) -> None:
        """Relay one stream of chat's to the client, frame by frame."""
        chat = self._container.upstreams.chat
        headers = self._headers | {"Accept": "text/event-stream"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        named = {} if turn_id is None else {"turn_id": turn_id}
        try:
            try:
                response = await chat.send(
                    method, target, headers=headers, body=body, patience=self._settings.chat_timeout
                )
                async with response:
                    await _raise_problem(response)
                    if turn := response.headers.get("X-Turn-ID"):
                        named["turn_id"] = turn
                        self._stoppable.add(turn)
                    ended = False
                    try:
                        events = EventReader()
                        async for chunk in response.content.iter_any():
                            batch = events.feed(chunk)
                            if batch and batch[-1][0] in LAST_FRAMES:
                                ended = True
                                self._make_way()
                            await self._frames((data for _, data in batch), by)
                    except (aiohttp.ClientError, TimeoutError) as error:
                        raise chat.down(error) from error
                    if not ended:
                        raise UpstreamUnavailable(
                            "The answer broke off; resume it with its turn_id and the last seq you have."
                        )
            except DocuChatError as error:
                await self._error(error, by, **named)
        except _Gone:
            self._gone.set()
        finally:
            self._stoppable.discard(named.get("turn_id", ""))

    def _make_way(self) -> None:
        """The client may ask again as soon as it has read the end, while this task still waits for chat to close."""
        current = asyncio.current_task()
        if current is None or self._turn is not current:
            return
        self._turn = None
        self._commands.add(current)
        current.add_done_callback(self._commands.discard)

    async def _frames(self, frames: Iterable[bytes], by: str | None) -> None:
        if by is not None:
            frames = (with_message_id(frame, by) for frame in frames)
        await self._push(*({"type": "websocket.send", "text": frame.decode()} for frame in frames))

    async def _error(self, error: DocuChatError, by: str | None = None, **more: str) -> None:
        await self._frames([dump_frame(error_frame(error, **more))], by)

    async def _push(self, *messages: dict[str, Any]) -> None:
        """Send to the client; _Gone when it has left, or was dropped because it takes nothing."""
        # while anything waits that the kernel does not take `send` waits, we read no more, and chat is slowed down
        try:
            for message in messages:
                await self._send(message)
        except (WebSocketDisconnect, OSError, RuntimeError) as error:
            raise _Gone from error


_Message = TypeVar("_Message", bound=BaseModel)


def _valid(message: type[_Message], frame: dict[str, Any]) -> _Message:
    try:
        return message.model_validate(without_surplus(frame, message))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])[:200]
        raise BadFrame(f"`{field}`: {first['msg']}", field=field) from error


def _message_id(frame: dict[str, Any]) -> str | None:
    """Take the client's name for its message off the frame: it stands in every frame that the message causes."""
    given = frame.pop("id", None)
    if given is not None and (not isinstance(given, str) or not 1 <= len(given) <= 100):
        raise BadFrame("`id` is a text of 1 to 100 characters.", field="id")
    return given


def _question(frame: dict[str, Any]) -> bytes:
    """The body for chat, which knows what may stand in it."""
    try:
        given = {name: value for name, value in frame.items() if value is not None}
        return orjson.dumps(without_surplus(given, AskMessage) | {"stream": True})
    except orjson.JSONEncodeError as error:
        raise BadFrame("The frame is nested too deeply.") from error


async def _raise_problem(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        raise error_from_response(response.status, await response.read(), response.headers, "chat")
