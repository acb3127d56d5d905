"""Requests that are passed on: the table of what goes where, and the response that relays bytes as they come."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta
from typing import Any, Final, Literal

import aiohttp
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from docuchat_common.contracts.public_answers import TENANT_HEADER
from docuchat_common.errors import DocuChatError
from docuchat_common.http.problems import response_for
from docuchat_gateway.edge.ports import Upstream
from docuchat_gateway.edge.requests import HOP_BY_HOP
from docuchat_gateway.event_stream import BrokenOff, broken_off

_NOT_RETURNED: Final = HOP_BY_HOP | {"date", "server", "x-request-id", TENANT_HEADER.lower()}


class RelayedResponse(Response):
    """Sends a request to the service behind when it is called, and relays the answer chunk by chunk, unbuffered.

    Nothing is parsed. A client that hangs up closes the connection behind as well. A service that breaks off in the
    midst of an event stream is told as an `error` event; any other body is cut, so that nobody takes it for whole. An
    answer that must not go on ends in the same way.
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
        following: AbstractContextManager[asyncio.Future[DocuChatError]] | None = None,
        closure: Callable[[int], DocuChatError | None] | None = None,
        told: BrokenOff = broken_off,
    ) -> None:
        """`following` opens what says that the answer must not go on, and why.

        `closure` says why nothing of a tenant may be told, of an answer that names one (`contracts.public_answers`).
        `told` is how an event stream says that it breaks off.
        """
        self._upstream = upstream
        self._method = method
        self._target = target
        self._request_headers = headers
        self._body = body
        self._patience = patience
        self._request_id = request_id
        self._closure = closure
        self._told = told
        self._following: AbstractContextManager[asyncio.Future[DocuChatError] | None] = following or nullcontext()
        self._at: Literal["the head", "an event", "the midst", "the end"] = "the head"
        """What would be sent next."""
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        relay = asyncio.create_task(self._relay(scope, receive, send))
        hangup = asyncio.create_task(_hangup(receive))
        with self._following as ended:
            ends: set[asyncio.Future[Any]] = {relay, hangup}
            try:
                await asyncio.wait(ends if ended is None else ends | {ended}, return_when=asyncio.FIRST_COMPLETED)
                if relay.done():
                    relay.result()
                    return
            finally:
                must_not_go_on = not relay.done() and not hangup.done() and ended is not None and ended.done()
                hangup.cancel()
                if not relay.done():
                    relay.cancel()
                    with suppress(asyncio.CancelledError):
                        await relay
            if ended is not None and must_not_go_on:
                await self._break_off(ended.result(), scope, receive, send)

    async def _break_off(self, error: DocuChatError, scope: Scope, receive: Receive, send: Send) -> None:
        match self._at:
            case "the head":
                await response_for(error, self._request_id)(scope, receive, send)
            case "an event":
                await send({"type": "http.response.body", "body": self._told(error), "more_body": False})
            case "the midst" | "the end":
                pass  # the server cuts what its application did not complete

    async def _relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._upstream.send(
                self._method, self._target, headers=self._request_headers, body=self._body, patience=self._patience
            )
        except DocuChatError as error:
            await response_for(error, self._request_id)(scope, receive, send)
            return
        async with response:
            closed = self._closure_of(response)
            if closed is not None:
                await response_for(closed, self._request_id)(scope, receive, send)
                return
            events = response.content_type == "text/event-stream"
            raw_headers = [
                (name.lower(), value)
                for name, value in response.raw_headers
                if name.lower().decode("latin-1") not in _NOT_RETURNED
            ]
            if events:
                raw_headers.append((b"x-accel-buffering", b"no"))  # nginx in front must not collect events either
            self._at = "an event" if events else "the midst"
            await send({"type": "http.response.start", "status": response.status, "headers": raw_headers})
            end = b"\n\n"  # of what was sent: an event is told only between two others
            try:
                async for chunk in response.content.iter_any():
                    end = (end + chunk)[-2:]
                    self._at = "an event" if events and end == b"\n\n" else "the midst"
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                down = self._upstream.down(error)
                if self._at != "an event":
                    return  # the server cuts a response that its application did not complete
                turn_id = response.headers.get("X-Turn-ID")
                told = self._told(down, **({"turn_id": turn_id} if turn_id else {}))
                await send({"type": "http.response.body", "body": told, "more_body": True})
            self._at = "the end"
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _closure_of(self, response: aiohttp.ClientResponse) -> DocuChatError | None:
        tenant = response.headers.get(TENANT_HEADER)
        return None if tenant is None or self._closure is None else self._closure(int(tenant))


async def _hangup(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
