"""Request bodies that are read while they arrive, and refused in their midst."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from docuchat_common.http.slots import Slot
from docuchat_gateway.documents.errors import FileTooLarge, UploadTooSlow


@dataclass(frozen=True, slots=True)
class Pace:
    """How slowly a body may come."""

    idle: timedelta
    """The longest silence."""
    bytes_per_second: int
    """The least, on the mean of the time that was spent waiting for the client, once that is as long as `idle`."""


class UploadBody:
    """A request body that is counted while it is read, and knows whether its end was seen.

    It holds the upload's slot while bytes flow: from the first one on, and not while the client is silent.
    """

    STALLED_AFTER: Final = 0.5
    """Seconds of silence after which the slot is given up."""

    def __init__(self, request: Request, slot: Slot, pace: Pace, *, limit: int, file_limit: int) -> None:
        self._request = request
        self._slot = slot
        self._pace = pace
        self._limit = limit
        self._file_limit = file_limit
        self._size = 0
        self._waited = 0.0
        self.touched = False
        self.finished = False

    @property
    def declared_bytes(self) -> int | None:
        """What the client says that is coming; None when it does not say."""
        declared = self._request.headers.get("content-length", "")
        return int(declared) if declared.isdigit() else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises FileTooLarge, UploadTooSlow, ClientDisconnect."""
        if (self.declared_bytes or 0) > self._limit:
            raise self._too_large()
        self.touched = True
        while not self.finished:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.finished = True
                raise ClientDisconnect
            self.finished = not message.get("more_body", False)
            chunk: bytes = message.get("body", b"")
            self._size += len(chunk)
            if self._size > self._limit:
                raise self._too_large()
            if chunk:
                await self._slot.take()
                yield chunk

    async def _receive(self) -> Message:
        loop = asyncio.get_running_loop()
        began = loop.time()
        message = await self._receive_in_time()
        self._waited += loop.time() - began
        if self._waited >= self._pace.idle.total_seconds() and self._size < self._waited * self._pace.bytes_per_second:
            raise UploadTooSlow(f"Less than {self._pace.bytes_per_second} bytes a second came; send the file again.")
        return message

    async def _receive_in_time(self) -> Message:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.STALLED_AFTER):
                return await self._request.receive()
        self._slot.give_up()
        idle = self._pace.idle.total_seconds()
        try:
            async with asyncio.timeout(max(idle - self.STALLED_AFTER, 0.0)):
                return await self._request.receive()
        except TimeoutError as error:
            raise UploadTooSlow(f"Nothing came for {idle:g} s; send the file again.") from error

    def _too_large(self) -> FileTooLarge:
        return FileTooLarge(f"The file is larger than {self._file_limit // 2**20} MB.", max_bytes=self._file_limit)


class EarlyRefusal(Response):
    """A refusal in the midst of a body: answered at once, and only then is the rest of the body taken from the line.

    A server that closes with unread bytes sends a reset, which can destroy the answer before the client has read it; so
    the rest is read and thrown away for a bounded while (a lingering close, as in nginx).
    """

    LINGER_SECONDS: Final = 5.0

    def __init__(self, answer: Response, *, linger_bytes: int) -> None:
        super().__init__(answer.body, answer.status_code)
        self.raw_headers = [*answer.raw_headers, (b"connection", b"close")]
        self._linger_bytes = linger_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        left = self._linger_bytes
        try:
            async with asyncio.timeout(self.LINGER_SECONDS):
                while left > 0:
                    message: Message = await receive()
                    left -= len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        break
        except TimeoutError:
            pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})
