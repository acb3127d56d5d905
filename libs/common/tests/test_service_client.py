"""A service that is away, frozen or odd costs those who ask it little, and is asked again when it is back."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import pytest

from docuchat_common.errors import NotFound, UpstreamUnavailable
from docuchat_common.http.client import ServiceClient, open_http_client
from docuchat_testkit.eventually import eventually

SOON = timedelta(milliseconds=200)


class Service:
    """A service that can be frozen as SIGSTOP freezes one: connections are taken, and nothing is answered."""

    def __init__(self) -> None:
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.asked = 0
        self.told_to_live = 0
        self.is_busy = False
        """Says that it lives, and answers nothing else before it is thawed."""
        self.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        is_question = b"/livez" not in head
        self.asked += is_question
        if is_question or not self.is_busy:
            await self.thawed.wait()
        self.told_to_live += not is_question
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@pytest.fixture
def service() -> Service:
    return Service()


@asynccontextmanager
async def listening(service: Service, port: int = 0) -> AsyncIterator[int]:
    async with await asyncio.start_server(service.handle, "127.0.0.1", port) as server:
        yield server.sockets[0].getsockname()[1]
        service.thawed.set()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_http_client() as session:
        yield session


async def test_a_frozen_service_is_told_within_two_seconds_then_at_once_until_it_lives(
    service: Service, session: aiohttp.ClientSession
) -> None:
    async with listening(service) as port:
        client = ServiceClient(session, f"http://127.0.0.1:{port}", "usage")
        assert await client.request_json("GET", "/") == {}
        service.thawed.clear()
        began = time.monotonic()
        with pytest.raises(UpstreamUnavailable) as caught:
            await client.request_json("POST", "/", json={})
        assert time.monotonic() - began < 2
        assert caught.value.retry_after is not None
        asked = service.asked
        results = await asyncio.gather(*(client.request_json("GET", "/") for _ in range(50)), return_exceptions=True)
        assert all(isinstance(result, UpstreamUnavailable) for result in results)
        assert service.asked == asked  # nothing but its life was asked for
        service.thawed.set()

        async def answered() -> bool:
            try:
                return await client.request_json("GET", "/") == {}
            except UpstreamUnavailable:
                return False

        await eventually(answered)


async def test_a_slow_answer_shuts_a_living_service_out_for_no_longer_than_a_question(
    service: Service, session: aiohttp.ClientSession
) -> None:
    async with listening(service) as port:
        client = ServiceClient(session, f"http://127.0.0.1:{port}", "usage")
        service.thawed.clear()
        with pytest.raises(UpstreamUnavailable):
            await client.request_json("GET", "/", timeout=SOON)
        service.thawed.set()
        assert await client.request_json("GET", "/") == {}


async def test_a_busy_service_that_lives_is_waited_for_and_a_frozen_one_is_not(
    service: Service, session: aiohttp.ClientSession
) -> None:
    patience = timedelta(seconds=30)
    async with listening(service) as port:
        client = ServiceClient(session, f"http://127.0.0.1:{port}", "usage")
        service.is_busy = True
        service.thawed.clear()
        began = time.monotonic()
        many = [asyncio.create_task(client.request_json("POST", "/", json={}, patience=patience)) for _ in range(50)]
        # each time it is asked about after `SILENCE`: by then all would have been told that it does not answer
        await eventually(lambda: service.told_to_live >= 4)
        assert time.monotonic() - began > 1.5 and service.told_to_live <= 5  # by one of them, for all
        service.thawed.set()
        assert await asyncio.gather(*many) == [{}] * 50
        service.is_busy = False
        service.thawed.clear()
        began = time.monotonic()
        with pytest.raises(UpstreamUnavailable):
            await client.request_json("POST", "/", json={}, patience=patience)
        assert time.monotonic() - began < 3


async def test_a_service_that_restarts_is_waited_for_a_moment(service: Service, session: aiohttp.ClientSession) -> None:
    async with listening(service) as port:
        pass
    client = ServiceClient(session, f"http://127.0.0.1:{port}", "usage")
    answer = asyncio.create_task(client.request_json("POST", "/", json={}))
    await asyncio.sleep(0.1)
    async with listening(service, port):
        assert await answer == {}


async def test_errors_of_the_service_are_its_own_and_do_not_shut_it_out(
    service: Service, session: aiohttp.ClientSession
) -> None:
    problem = b'{"code":"hold_not_found","detail":"gone"}'
    service.answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (
        len(problem),
        problem,
    )
    async with listening(service) as port:
        client = ServiceClient(session, f"http://127.0.0.1:{port}", "usage")
        for _ in range(2):
            with pytest.raises(NotFound) as caught:
                await client.request_json("GET", "/")
            assert caught.value.code == "hold_not_found"
        service.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>"
        with pytest.raises(UpstreamUnavailable):
            await client.request_json("GET", "/")
        service.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
        assert await client.request_json("GET", "/") == {}
        await client.check()
