"""A response of server-sent events: bytes as they are, a client that leaves noticed, a silent stream kept open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
PING = b": ping\n\n"


class EventStream(Response):
    """Sends frames until their end; the source is shared, so a slow client holds only the server's socket buffer."""

    media_type = "text/event-stream"

    def __init__(
        self, frames: AsyncIterator[bytes], *, headers: dict[str, str], ping: timedelta = timedelta(seconds=15)
    ) -> None:
        """`ping`: a comment is sent after so long without a frame."""
        self.status_code = 200
        self.background = None
        self.body = b""
        self._frames = frames
        self._ping = ping.total_seconds()
        self._writing = asyncio.Lock()
        self._written_at = 0.0
        self.init_headers({**HEADERS, **headers})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as an ASGI application."""
        loop = asyncio.get_running_loop()
        self._written_at = loop.time()
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            # One timer for a whole silence: to set one for each frame costs more than to send it.
            wait = self._ping
            while not (await asyncio.wait({sending, leaving}, timeout=wait, return_when=asyncio.FIRST_COMPLETED))[0]:
                silent = loop.time() - self._written_at
                wait = self._ping if silent >= self._ping else self._ping - silent
                if silent >= self._ping and not self._writing.locked():  # locked: it is the client that is slow
                    await self._write(send, PING)
        finally:
            leaving.cancel()
            sending.cancel()
            results = await asyncio.gather(sending, leaving, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    async def _send(self, send: Send) -> None:
        async with self._writing:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for frames in self._frames:
            await self._write(send, frames)
        await self._write(send, b"", more=False)

    async def _write(self, send: Send, body: bytes, *, more: bool = True) -> None:
        async with self._writing:
            await send({"type": "http.response.body", "body": body, "more_body": more})
        self._written_at = asyncio.get_running_loop().time()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
