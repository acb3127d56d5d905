"""A streamed answer: over WebSocket or server-sent events, resumed by itself when the connection drops."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Literal, Self
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from docuchat_client.errors import (
    ConnectionFailed,
    DocuChatError,
    Forbidden,
    RateLimited,
    ServiceUnavailable,
    Unauthenticated,
    UnexpectedAnswer,
    error_from_body,
    error_from_frame,
)
from docuchat_client.models import (
    AnswerEvent,
    Citation,
    Delta,
    End,
    Fallback,
    Source,
    Sources,
    Start,
    TurnUsage,
    parse_event,
)
from docuchat_client.sse import read_events
from docuchat_client.transport import Transport, backoff

Channel = Literal["websocket", "sse"]
_OPEN_SECONDS = 10.0
_MAX_FRAME = 8 * 1024 * 1024
_LONGEST_PAUSE = 5.0
_POLICY_VIOLATION = 1008
_REFUSALS: dict[int, type[DocuChatError]] = {4401: Unauthenticated, 4403: Forbidden}
"""Closed by the service for good; the reason is the error's code."""


class AnswerStream:
    """One answer on its way. Iterate it for events, or `text()` for the words; what is known so far is in its fields.

    A connection that drops after the answer began is opened again and the answer goes on behind the last piece that
    was read: nothing is lost, repeated, or asked of the model twice. Before the answer began, the question is sent
    again only where the service can tell that it is the same one (server-sent events, by Idempotency-Key).
    """

    def __init__(
        self,
        transport: Transport,
        question: dict[str, Any] | None,
        *,
        channel: Channel,
        path: str = "/v1/chat",
        resume: UUID | None = None,
        after: int = 0,
        attempts: int = 6,
        silence: float = 90.0,
    ) -> None:
        """`path` is where the question goes; what is not the chat's own takes it by server-sent events only."""
        self._transport = transport
        self._path = path
        self._question = question
        self._channel = channel
        self._attempts = attempts
        self._silence = silence
        self._key = str(uuid.uuid4())
        self._frames = self._read()
        self.turn_id = resume
        self.chat_id: UUID | None = None
        self.session_id: str | None = None
        self.message_id: UUID | None = None
        self.model: str | None = None
        self.fallback: Fallback | None = None
        self.chatbot_id: UUID | None = None
        self.chatbot_version: int | None = None
        self.sources: list[Source] = []
        self.citations: list[Citation] = []
        self.own_knowledge: list[str] = []
        self.usage: TurnUsage | None = None
        self.finish_reason: str | None = None
        self.last_seq = after
        self.answer = ""
        self.resumptions = 0
        self._announced = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection; the service finishes the answer, and `resume` can read it later."""
        await self._frames.aclose()

    def __aiter__(self) -> AsyncIterator[AnswerEvent]:
        return self._frames

    async def text(self) -> AsyncIterator[str]:
        """The words of the answer as they come."""
        async for event in self._frames:
            if isinstance(event, Delta):
                yield event.token

    async def stop(self) -> None:
        """Ask the service to end the answer; the stream then ends by itself, with `finish_reason` "stopped"."""
        if self.turn_id is not None:
            await self._transport.request("POST", f"/v1/turns/{self.turn_id}/stop", repeatable=True)

    async def _read(self) -> AsyncGenerator[AnswerEvent, None]:
        """Events of as many connections as it takes."""
        failures = 0
        renewed = False
        while True:
            progress = self.last_seq
            opened = _Opened()
            try:
                async with contextlib.aclosing(self._connect(opened)) as frames:
                    async for frame in frames:
                        event = self._take(frame)
                        if event is None:
                            continue
                        yield event
                        if isinstance(event, End):
                            return
                raise ConnectionFailed("The connection ended before the answer did.")
            except (Unauthenticated, Forbidden) as refusal:
                # Refused at the door, or hung up because the token ran out in mid-answer: renew it once and go on.
                # It did not take the question, so asking again is safe.
                if renewed or not opened.headers or not refusal.is_of_token:
                    raise
                if not await self._transport.renew(opened.headers):
                    raise
                renewed = True
            except (ConnectionFailed, ServiceUnavailable, RateLimited) as error:
                failures = 0 if self.last_seq > progress else failures + 1
                if failures >= self._attempts or not self._may_go_on(error, opened):
                    raise
                if not await self._paused(error, failures):
                    raise
                if self.turn_id is not None:
                    self.resumptions += 1

    async def _paused(self, error: DocuChatError, failures: int) -> bool:
        if isinstance(error, RateLimited):
            return await self._transport.wait_out(error, failures)
        await asyncio.sleep(min(error.retry_after or backoff(failures), _LONGEST_PAUSE))
        return True

    def _may_go_on(self, error: DocuChatError, opened: _Opened) -> bool:
        if isinstance(error, RateLimited):
            return error.code == RateLimited.default_code  # refused, not taken
        if isinstance(error, ServiceUnavailable) and error.status is None:
            return False  # the answer itself failed, not the way to it
        return self.turn_id is not None or not opened.asked or self._channel == "sse"

    def _take(self, frame: dict[str, Any]) -> AnswerEvent | None:
        """Note what a frame says; None for what was seen before, is of another turn, or unknown to this version."""
        if frame.get("id") not in (None, self._key):
            return None
        if self.turn_id is not None and frame.get("turn_id") not in (None, str(self.turn_id)):
            return None
        if frame.get("type") == "error":
            raise error_from_frame(frame)
        event = parse_event(frame)
        if isinstance(event, Start):
            repeated = self.chat_id is not None
            self._note_start(event)
            return None if repeated else event
        if isinstance(event, Sources):
            repeated, self._announced, self.sources = self._announced, True, event.sources
            return None if repeated else event
        if isinstance(event, Delta):
            if event.seq <= self.last_seq:
                return None
            if event.seq > self.last_seq + 1:
                raise ConnectionFailed("A piece of the answer is missing.", code="gap")
            self.last_seq = event.seq
            self.answer += event.token
        elif isinstance(event, End):
            self.citations, self.usage, self.finish_reason = event.citations, event.usage, event.finish_reason
            self.message_id = event.message_id or self.message_id
            self.own_knowledge = event.own_knowledge
            self.model, self.fallback = event.model or self.model, event.fallback
        return event

    def _note_start(self, event: Start) -> None:
        self.turn_id, self.chat_id = event.turn_id, event.chat_id
        self.session_id, self.message_id, self.model = event.session_id, event.message_id, event.model
        self.chatbot_id, self.chatbot_version = event.chatbot_id, event.chatbot_version

    def _connect(self, opened: _Opened) -> AsyncGenerator[dict[str, Any], None]:
        return self._by_websocket(opened) if self._channel == "websocket" else self._by_sse(opened)

    async def _by_websocket(self, opened: _Opened) -> AsyncGenerator[dict[str, Any], None]:
        base = self._transport.base_url
        opened.headers = await self._transport.headers()
        try:
            connection = await connect(
                websocket_address(base),
                additional_headers=opened.headers,
                open_timeout=_OPEN_SECONDS,
                close_timeout=1,
                max_size=_MAX_FRAME,
            )
        except InvalidStatus as error:
            response = error.response
            headers = {name.lower(): value for name, value in response.headers.raw_items()}
            raise error_from_body(base, response.status_code, bytes(response.body or b""), headers) from error
        except InvalidURI as error:
            raise UnexpectedAnswer(f"{base!r} is not an address.", code="invalid_address") from error
        except (OSError, TimeoutError, InvalidHandshake) as error:
            raise ConnectionFailed(f"{base} cannot be reached.") from error
        try:
            said = {"resume": str(self.turn_id), "after": self.last_seq}
            if self.turn_id is None:
                opened.asked = True
                said = self._question or {}
            with contextlib.suppress(ConnectionClosed):  # refused already: why is still to be read
                await connection.send(json.dumps({"id": self._key, **said}))
            while True:
                yield await self._receive(connection)
        except ConnectionClosed as error:
            closed = error.rcvd
            if closed is not None and closed.code == _POLICY_VIOLATION:
                raise Unauthenticated(closed.reason or None) from error
            if closed is not None and (kind := _REFUSALS.get(closed.code)):
                raise kind(code=closed.reason or None) from error
            raise ConnectionFailed("The connection was lost.") from error
        finally:
            await connection.close()

    async def _receive(self, connection: ClientConnection) -> dict[str, Any]:
        try:
            message = await asyncio.wait_for(connection.recv(), self._silence)
        except TimeoutError as error:
            raise ConnectionFailed("The service fell silent.", code="timeout") from error
        try:
            frame = json.loads(message)
        except ValueError as error:
            raise UnexpectedAnswer("The service sent a frame that is not JSON.") from error
        if not isinstance(frame, dict):
            raise UnexpectedAnswer("The service sent a frame that is not a JSON object.")
        return frame

    async def _by_sse(self, opened: _Opened) -> AsyncGenerator[dict[str, Any], None]:
        headers = {"Accept": "text/event-stream"}
        timeout = httpx2.Timeout(self._silence, connect=5.0, pool=None)
        if self.turn_id is not None:
            headers["Last-Event-ID"] = str(self.last_seq)
            path, parameters = f"/v1/turns/{self.turn_id}/events", {"after": self.last_seq}
            request = self._transport.stream("GET", path, params=parameters, headers=headers, timeout=timeout)
        else:
            opened.asked = True
            headers["Idempotency-Key"] = self._key
            body = {**(self._question or {}), "stream": True}
            request = self._transport.stream("POST", self._path, json=body, headers=headers, timeout=timeout)
        async with request as response:
            async for event in read_events(response):
                if event.event != "ping":
                    yield event.json()


class _Opened:
    """What one connection came to."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.asked = False


def websocket_address(base_url: str) -> str:
    """The address of the chat's WebSocket at a service."""
    parts = urlsplit(base_url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit(parts._replace(scheme=scheme, path=parts.path.rstrip("/") + "/ws/chat"))
