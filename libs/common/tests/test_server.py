"""A served application: heads that never end are ended, and nobody is refused while a process stops."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, cast

import aiohttp
import pytest
from starlette.types import Receive, Send

from docuchat_common.http.client import KEEP_ALIVE, open_http_client
from docuchat_common.http.patience import DropsSlowClients, PatientHttpProtocol, PatientSocketProtocol, untaken
from docuchat_common.http.server import Server, server_config
from docuchat_common.settings import ServiceSettings
from docuchat_testkit.clock import leap
from docuchat_testkit.eventually import eventually


class Impatient(PatientHttpProtocol):
    HEAD_SECONDS = 0.2
    SEND_SECONDS = 0.2


class ImpatientSocket(PatientSocketProtocol):
    SEND_SECONDS = 0.2


GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
UPGRADE = (
    GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

START: Final = {"type": "http.response.start", "status": 200, "headers": []}
PART: Final = {"type": "http.response.body", "more_body": True}


async def endless(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    await receive()
    leaving = asyncio.ensure_future(receive())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while not leaving.done():
        await send({"type": "http.response.body", "body": b"x" * 2**16, "more_body": True})


async def quiet(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    await receive()
    await send(START)
    await send({**PART, "body": b"xxx"})
    await receive()


async def hello(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def settings() -> ServiceSettings:
    return ServiceSettings(
        port=0,
        database_url="postgresql://nowhere",
        system_database_url="postgresql://nowhere",
        redis_url="redis://nowhere",
        rabbitmq_url="amqp://nowhere",
        internal_token="internal-token-of-this-test-alone",
        shutdown_grace=timedelta(seconds=5),
    )


@asynccontextmanager
async def serving(
    settings: ServiceSettings,
    protocol: type[PatientHttpProtocol],
    app: Any = hello,
    web_socket: type[PatientSocketProtocol] = ImpatientSocket,
) -> AsyncIterator[tuple[Server, int]]:
    config = server_config(app, settings)
    config.http = protocol
    config.ws = web_socket
    config.lifespan = "off"
    server = Server(config)
    server.FAREWELL_SECONDS = 5
    task = asyncio.create_task(server._serve())
    await eventually(lambda: server.started)
    try:
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_head_that_never_ends_is_ended(settings: ServiceSettings, sent: bytes) -> None:
    async with serving(settings, Impatient) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        async with asyncio.timeout(30):
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()


def time_is_up(connection: PatientHttpProtocol) -> bool:
    """Ring the timer of a connection for which something waits; whether it was dropped."""
    if connection._send_timer is not None:
        connection._forget_send()
        connection._look()
    return connection.transport.is_closing()


async def test_a_client_that_does_not_read_is_dropped_and_one_that_does_is_not(settings: ServiceSettings) -> None:
    async with serving(settings, PatientHttpProtocol, endless) as (server, port):
        connections = cast(set[PatientHttpProtocol], server.server_state.connections)
        _, slow_writer = await asyncio.open_connection("127.0.0.1", port, limit=2**10)
        slow_writer.write(GET + b"\r\n")
        await eventually(lambda: connections)
        (slow,) = connections
        reader, reading_writer = await asyncio.open_connection("127.0.0.1", port)
        reading_writer.write(GET + b"\r\n")
        await eventually(lambda: len(connections) == 2)
        (reading,) = connections - {slow}

        async def has_taken() -> bool:
            assert await reader.read(2**16)
            return reading._send_timer is not None and untaken(reading.transport) < reading._waiting

        for _ in range(20):
            await eventually(has_taken)
            assert not time_is_up(reading)
        await eventually(lambda: time_is_up(slow))
        await eventually(lambda: connections == {reading})
        assert await reader.read(2**16)
        slow_writer.close()
        reading_writer.close()


@pytest.mark.parametrize("size", [2**14, 2**25], ids=["little", "much"])
@pytest.mark.parametrize(
    "request_", [GET + b"\r\n", GET + b"Connection: close\r\n\r\n", UPGRADE], ids=["kept", "closing", "socket"]
)
async def test_a_client_that_leaves_the_end_unread_is_dropped_however_little_that_is(
    settings: ServiceSettings, request_: bytes, size: int
) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        (connection,) = server.server_state.connections
        web = scope["type"] == "websocket"
        await send({"type": "websocket.accept"} if web else START)
        part = {"type": "websocket.send", "bytes": bytes(size)} if web else {**PART, "body": bytes(size)}
        while not connection.transport.get_write_buffer_size():  # type: ignore[union-attr]  # one of ours
            await send(part)
        if web:
            while (await receive())["type"] != "websocket.disconnect":
                pass
        else:
            await send({"type": "http.response.body"})

    async with serving(settings, Impatient, app) as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**10)
        writer.write(request_)
        await eventually(lambda: server.server_state.connections)
        await eventually(lambda: not server.server_state.connections and not server.server_state.tasks)
        writer.close()


async def test_who_has_read_everything_is_not_waited_for(settings: ServiceSettings) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send({**PART, "body": bytes(2**23)})
        await receive()

    async with serving(settings, PatientHttpProtocol, app) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET + b"\r\n")
        await eventually(lambda: server.server_state.connections)
        (connection,) = cast(set[PatientHttpProtocol], server.server_state.connections)
        await eventually(lambda: connection._send_timer)
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2**23)
        await eventually(lambda: connection._send_timer is None)
        writer.close()


@pytest.mark.parametrize("waits", [True, False])
async def test_a_ping_that_waits_behind_what_is_not_read_ends_no_socket(settings: ServiceSettings, waits: bool) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while waits:
            await send({"type": "websocket.send", "bytes": bytes(2**16)})
        await receive()

    async with serving(settings, PatientHttpProtocol, app, PatientSocketProtocol) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**10)
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        (socket_,) = cast(set[PatientSocketProtocol], server.server_state.connections)
        await eventually(lambda: socket_._send_timer if waits else socket_.ping_timer)
        socket_.send_keepalive_ping()
        cast(asyncio.TimerHandle, socket_.pong_timer).cancel()
        socket_.keepalive_timeout()
        assert socket_.transport.is_closing() is not waits and bool(socket_.pong_timer) is waits
        writer.transport.abort()
        await eventually(lambda: not server.server_state.connections)


@pytest.mark.parametrize("app", [endless, quiet])
async def test_an_upgrade_in_the_midst_of_an_answer_ends_the_connection_and_the_answer(
    settings: ServiceSettings, app: Any
) -> None:
    async with serving(settings, PatientHttpProtocol, app) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET + b"\r\n")
        await reader.readuntil(b"xxx")
        writer.write(UPGRADE)
        await eventually(lambda: not server.server_state.connections and not server.server_state.tasks)
        writer.close()


class Held:
    """A loop whose timer rings by hand."""

    def call_later(self, seconds: float, ring: Callable[[], None]) -> Any:
        self.ring = ring
        return self

    def cancel(self) -> None:
        pass


async def test_a_client_that_takes_a_little_in_each_time_is_kept_until_it_takes_nothing() -> None:
    class Sending(DropsSlowClients):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.Transport, transport)
            super().connection_made(transport)

    sending = Sending()
    held = Held()
    sending.loop = cast(Any, held)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**15)  # what is read of it soon makes room
        theirs.connect(listener.getsockname())
        ours, _ = listener.accept()
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: sending, ours)
        transport.write(bytes(2**25))
        before = transport.get_write_buffer_size()
        for _ in range(3):
            theirs.recv(2**16, socket.MSG_WAITALL)  # less than the kernel waits for before it asks for more
            await eventually(lambda: untaken(transport) < sending._waiting)
            held.ring()
            assert not transport.is_closing()
        assert transport.get_write_buffer_size() == before

        def dropped() -> bool:
            held.ring()
            return transport.is_closing()

        await eventually(dropped)


async def test_a_later_head_on_a_kept_connection_has_an_end_too_and_a_slow_body_is_not_a_slow_head(
    settings: ServiceSettings,
) -> None:
    async with serving(settings, PatientHttpProtocol) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
        await eventually(lambda: server.server_state.tasks)
        (connection,) = cast(set[PatientHttpProtocol], server.server_state.connections)
        for byte in (b"a", b"b", b"c"):
            leap(PatientHttpProtocol.HEAD_SECONDS + 1)
            await asyncio.sleep(0)  # what is due is done
            writer.write(byte)
        assert b"hello" in await reader.readuntil(b"hello")
        writer.write(b"GET / HT")
        await eventually(lambda: connection._head_timer)
        leap(PatientHttpProtocol.HEAD_SECONDS + 1)
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_a_request_on_a_kept_connection_is_answered_while_the_server_stops_and_told_that_it_was_the_last(
    settings: ServiceSettings,
) -> None:
    async with serving(settings, PatientHttpProtocol) as (server, port), aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/"
        async with session.post(url) as response:
            assert "close" not in response.headers.get("Connection", "")
            await response.read()
        server.should_exit = True
        await eventually(lambda: not server.servers[0].is_serving())
        async with session.post(url) as response:  # the same connection: nobody takes new ones
            assert response.headers["Connection"] == "close"
            assert await response.read() == b"hello"
        await eventually(lambda: not server.server_state.connections)


async def test_a_connection_that_was_accepted_before_the_server_stops_gets_its_first_answer(
    settings: ServiceSettings,
) -> None:
    async with serving(settings, PatientHttpProtocol) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await eventually(lambda: server.server_state.connections)
        server.should_exit = True
        await eventually(lambda: not server.servers[0].is_serving())
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(30):
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_the_time_of_the_farewell_is_part_of_the_grace(settings: ServiceSettings) -> None:
    async with serving(settings, PatientHttpProtocol) as (server, port):
        server.FAREWELL_SECONDS = 1.1
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await eventually(lambda: server.server_state.connections)
    assert server.config.timeout_graceful_shutdown == 4
    writer.close()


async def test_a_server_that_stops_answers_for_longer_than_our_clients_keep_a_connection() -> None:
    assert KEEP_ALIVE.total_seconds() + 0.5 <= Server.FAREWELL_SECONDS
    async with open_http_client() as session:
        assert session.connector is not None
        assert session.connector._keepalive_timeout == KEEP_ALIVE.total_seconds()
