"""A response of server-sent events: bytes as they are, a client that stops reading dropped, one that leaves noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

logger = structlog.get_logger()

HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
PING = b": ping\n\n"


class EventStream(Response):
    """Sends frames until their end; the source is shared, so a slow client holds only the server's socket buffer."""

    media_type = "text/event-stream"

    def __init__(
        self,
        frames: AsyncIterator[bytes],
        *,
        stall: timedelta,
        headers: dict[str, str],
        ping: timedelta = timedelta(seconds=15),
    ) -> None:
        self.status_code = 200
        self.background = None
        self.body = b""
        self._frames = frames
        self._stall = stall.total_seconds()
        self._ping = ping.total_seconds()
        self.init_headers({**HEADERS, **headers})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as an ASGI application."""
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            sending.cancel()
            results = await asyncio.gather(sending, leaving, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        frames = aiter(self._frames)
        following: asyncio.Future[bytes] = asyncio.ensure_future(_next(frames))
        try:
            while True:
                if not following.done():
                    await asyncio.wait({following}, timeout=self._ping)
                if not following.done():
                    await self._write(send, PING)
                    continue
                body = following.result()
                if not body:
                    break
                await self._write(send, body)
                following = asyncio.ensure_future(_next(frames))
        finally:
            following.cancel()
        await self._write(send, b"", more=False)

    async def _write(self, send: Send, body: bytes, *, more: bool = True) -> None:
        try:
            async with asyncio.timeout(self._stall):
                await send({"type": "http.response.body", "body": body, "more_body": more})
        except TimeoutError:
            logger.info("stream.client_stalled")
            raise


async def _next(frames: AsyncIterator[bytes]) -> bytes:
    return await anext(frames, b"")


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
