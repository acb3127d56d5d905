"""HTTP/1.1 for the stub of a model provider: small, and faster than any service under test can relay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import httptools

_MAX_BODY = 64 * 1024 * 1024
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


@dataclass(slots=True)
class Request:
    """What has come of a request."""

    method: str = ""
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    keep_alive: bool = True


class Connection(asyncio.Protocol):
    """One client connection: parses requests, runs one at a time, and waits until what it wrote has left."""

    def __init__(self, serve: Callable[[Connection, Request], Coroutine[Any, Any, None]]) -> None:
        self._serve = serve
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's classes, hence no isinstance check.
        self.transport = cast("asyncio.Transport", transport)
        # With no allowance a write counts as flushed only when the kernel has it: that is what "sent" means here.
        self.transport.set_write_buffer_limits(high=0)

    def connection_lost(self, exc: Exception | None) -> None:
        for task in self._tasks:
            task.cancel()

    def pause_writing(self) -> None:
        self._flushed.clear()

    def resume_writing(self) -> None:
        self._flushed.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_message_begin(self) -> None:
        self._request = Request()

    def on_url(self, url: bytes) -> None:
        self._request.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._request.method = self._parser.get_method().decode("ascii")
        if self._request.headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._request.body += body
        if len(self._request.body) > _MAX_BODY:
            self.transport.close()

    def on_message_complete(self) -> None:
        self._request.keep_alive = self._parser.should_keep_alive()
        task = asyncio.get_running_loop().create_task(self._serve(self, self._request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def send(self, data: bytes) -> None:
        """Write and wait until the kernel has taken all of it."""
        self.transport.write(data)
        await self._flushed.wait()
        if self.transport.is_closing():
            raise asyncio.CancelledError

    async def respond(
        self, status: int, payload: Any, headers: Mapping[str, str] | None = None, *, close: bool = False
    ) -> None:
        body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}", "content-type: application/json"]
        lines += [f"content-length: {len(body)}", f"connection: {'close' if close else 'keep-alive'}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        if close:
            self.transport.close()


def chunk(data: bytes) -> bytes:
    """Frame a piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
