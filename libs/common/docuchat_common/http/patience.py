"""HTTP and WebSocket as uvicorn speaks them, with an end to endless heads and to who does not read, and a farewell."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any, Final, cast

import structlog
from prometheus_client import Counter
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

logger = structlog.get_logger()

_slow = Counter("docuchat_clients_dropped", "Connections that were dropped because their client did not read.")

_TOO_SLOW: Final = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 50\r\n"
    b"connection: close\r\n\r\nThe head of the request did not arrive whole soon."
)


class DropsSlowClients(asyncio.Protocol):
    """Mixed into a protocol of uvicorn: drops a connection whose client takes nothing; uvicorn waits for ever.

    A timer runs only while something waits for the client, also after the answer: no send pays for it.
    """

    SEND_SECONDS: float = 60.0
    """For so long a client may take nothing of what waits for it. Takes are seen in steps of its network's, 64 KB on
    loopback: below that in this time it counts as taking nothing."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=0)  # told of each byte that waits, not of the first 64 KB

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_taking()

    def resume_writing(self) -> None:
        self._forget_send()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_send()
        super().connection_lost(exc)

    def _expect_taking(self) -> None:
        self._waiting = untaken(self.transport)
        self._send_timer = self.loop.call_later(self.SEND_SECONDS, self._look)

    def _forget_send(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _look(self) -> None:
        if untaken(self.transport) < self._waiting:
            self._expect_taking()
            return
        self._send_timer = None
        _slow.inc()
        logger.info("http.slow_client")
        self.transport.abort()  # a close would wait until the client has read


def untaken(transport: asyncio.Transport) -> int:
    """Bytes that wait for the client: ours, and where the kernel tells them its own, of which it asks for more late."""
    kernels = 0
    with suppress(OSError):
        kernels = int.from_bytes(ioctl(transport.get_extra_info("socket"), TIOCOUTQ, bytes(4)), sys.byteorder)
    return transport.get_write_buffer_size() + kernels


class PatientSocketProtocol(DropsSlowClients, WebSocketsSansIOProtocol):
    """Leaves a client that reads slowly the time to come to the ping, which waits behind what it has not read."""

    _unread = 0

    def send_keepalive_ping(self) -> None:
        super().send_keepalive_ping()
        self._unread = untaken(self.transport)

    def keepalive_timeout(self) -> None:
        before, self._unread = self._unread, untaken(self.transport)
        if self._send_timer is None and not 0 < self._unread < before:
            logger.info("http.silent_client")
            super().keepalive_timeout()
        elif self.ping_timeout is not None:
            self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)


class PatientHttpProtocol(DropsSlowClients, HttpToolsProtocol):
    """Ends a connection whose request head is not whole in time, or whose client does not read."""

    HEAD_SECONDS: float = 10.0
    """From the connection, or from the first byte of a later request, to the end of the head."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._between_requests = True
        self._last_request = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self._between_requests and self._head_timer is None:
            self._expect_head()
        super().data_received(data)

    def handle_websocket_upgrade(self) -> None:
        running = cast(RequestResponseCycle | None, self.cycle)
        if (running is not None and not running.response_complete) or self._send_timer is not None:
            self.transport.abort()  # no client of ours does that; the answer would wait for this protocol for ever
        else:
            super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        self._between_requests = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._forget_head()
        super().on_headers_complete()
        if self._last_request and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self._between_requests = True
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def say_farewell(self) -> bool:
        """Close the connection after the next answer; whether none is on its way, and a client may just be sending."""
        self._last_request = True
        running = cast(RequestResponseCycle | None, self.cycle)  # None before the first request
        if running is None or running.response_complete:
            return True
        running.keep_alive = False
        return False

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.HEAD_SECONDS, self._give_up)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            logger.info("http.head_too_slow")
            self.transport.write(_TOO_SLOW)
            self.transport.close()
