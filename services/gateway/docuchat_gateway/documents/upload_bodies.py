"""Request bodies that are read while they arrive, and refused in their midst."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from docuchat_gateway.documents.errors import FileTooLarge


class UploadBody:
    """A request body that is counted while it is read, and knows whether its end was seen."""

    def __init__(self, request: Request, limit: int, file_limit: int) -> None:
        self._request = request
        self._limit = limit
        self._file_limit = file_limit
        self._size = 0
        self.touched = False
        self.finished = False

    async def chunks(self) -> AsyncIterator[bytes]:
        declared = self._request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._limit:
            raise self._too_large()
        self.touched = True
        while not self.finished:
            message = await self._request.receive()
            if message["type"] == "http.disconnect":
                self.finished = True
                raise ClientDisconnect
            self.finished = not message.get("more_body", False)
            chunk: bytes = message.get("body", b"")
            self._size += len(chunk)
            if self._size > self._limit:
                raise self._too_large()
            if chunk:
                yield chunk

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
