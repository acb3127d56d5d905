"""R10: 200 clients that stop reading cost little memory, nobody else's time, and are dropped."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import pytest

from docuchat_testkit.eventually import eventually
from docuchat_testkit.faults import resident_megabytes
from docuchat_testkit.product import Product, User, frames_until_end, small_pdf, started_test_product
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule
from docuchat_testkit.servers import TestServers

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

_STALLED: Final = 200
_LONG, _SHORT = 2_000, 20  # tokens: some 260 kB, far more than what client and kernel take unread, and 3 kB
_DROPPED_AFTER_SECONDS: Final = 60
_OPENING_AT_ONCE: Final = 10
_READERS, _ASKS, _ROUNDS = 10, 10, 4
_MOST_MEGABYTES: Final = 1.0
_MOST_SLOWER: Final = 1.2


@pytest.fixture(scope="module")
def patient_product(
    breakable_servers: TestServers, stub_provider_process: StubProviderHandle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    settings = {"SOCKET_SEND": f"{_DROPPED_AFTER_SECONDS}s", "MAX_OUTPUT_TOKENS": str(_LONG)}
    with started_test_product(
        tmp_path_factory.mktemp("stalled"),
        breakable_servers,
        redis_number=5,
        provider=stub_provider_process,
        settings=settings,
    ) as product:
        yield product


@asynccontextmanager
async def asker(product: Product) -> AsyncIterator[User]:
    async with product.user(await product.new_tenant()) as user:
        await product.set_quota(user.tenant_id, 10**9)
        await user.ready(small_pdf(("The warranty of the kettle lasts 36 months.",)))
        yield user


async def open_sockets(product: Product) -> float:
    """How many WebSockets the gateway has open."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        metrics = (await http.get(f"{product.running.processes['gateway'].management_url}/metrics")).text
    found = re.search(r"^docuchat_sockets (\S+)$", metrics, re.MULTILINE)
    assert found, metrics
    return float(found[1])


async def has_open(product: Product, count: int) -> bool:
    return await open_sockets(product) == count


async def all_is_written(product: Product) -> bool:
    async with product.database() as admin:
        return bool(await admin.fetchval("SELECT count(*) = 0 FROM chat.turns WHERE state = 'running'"))


async def stall(user: User, turn: asyncio.Semaphore, stack: AsyncExitStack) -> Any:
    """Ask for a long answer, read how it begins, and nothing more."""
    async with turn:
        return await ask_and_stall(user, stack)


async def ask_and_stall(user: User, stack: AsyncExitStack) -> Any:
    address = urlsplit(user.gateway_url)
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.setblocking(False)
    await asyncio.get_running_loop().sock_connect(narrow, (address.hostname, address.port))
    connection = await stack.enter_async_context(
        user.socket(sock=narrow, max_queue=1, ping_interval=None, close_timeout=0)
    )
    await connection.send(json.dumps({"message": "Say at length how long the warranty lasts."}))
    assert json.loads(await connection.recv())["type"] == "start"
    connection.transport.pause_reading()
    return connection


async def p99_of_readers(user: User) -> float:
    """Seconds from a question to the end of its answer, which all but one of a hundred take at most."""
    took: list[float] = []

    async def read() -> None:
        async with user.socket() as connection:
            for _ in range(_ASKS):
                began = time.perf_counter()
                await connection.send(json.dumps({"message": "How long does the warranty last?"}))
                assert (await frames_until_end(connection))[-1]["type"] == "end"
                took.append(time.perf_counter() - began)

    await asyncio.gather(*(read() for _ in range(_READERS)))
    return sorted(took)[len(took) * 99 // 100 - 1]


async def test_clients_that_stop_reading_cost_little_slow_nobody_and_are_dropped(
    patient_product: Product, stub_provider: StubProviderHandle
) -> None:
    product = patient_product
    stub_provider.control(
        Rule(endpoint="chat", contains="at length", exact_tokens=_LONG), Rule(endpoint="chat", exact_tokens=_SHORT)
    )
    async with asker(product) as reader, asker(product) as sleeper, AsyncExitStack() as stack:
        await p99_of_readers(reader)  # the first answers of a product take longer
        slower: list[float] = []
        grown: dict[str, float] = {}
        connections: list[Any] = []
        # what else this machine does slows some rounds; what stalled clients cost would slow all of them
        while not slower or (min(slower) > _MOST_SLOWER and len(slower) < _ROUNDS):
            for connection in connections:
                connection.transport.abort()
            await eventually(lambda: has_open(product, 0), 60)
            before, memory_before = await p99_of_readers(reader), resident_megabytes(product)
            turn = asyncio.Semaphore(_OPENING_AT_ONCE)
            connections = await asyncio.gather(*(stall(sleeper, turn, stack) for _ in range(_STALLED)))
            await eventually(lambda: all_is_written(product), 60)
            memory = resident_megabytes(product)
            during = await p99_of_readers(reader)
            assert await has_open(product, _STALLED), "they were there all the while"
            slower.append(during / before)
            # what a process keeps for later rounds was taken in the first
            grown = grown or {name: (memory[name] - memory_before[name]) / _STALLED for name in ("gateway", "chat")}
            print(
                f"\nR10: p99 of others {before * 1000:.0f} ms before, {during * 1000:.0f} ms during ({slower[-1]:.2f}x)"
            )
        sizes = ", ".join(f"{name} {size * 1000:.0f} kB each" for name, size in grown.items())
        print(f"R10: {_STALLED} stalled clients of {_LONG} tokens: {sizes}")
        assert sum(grown.values()) <= _MOST_MEGABYTES, grown
        assert min(slower) <= _MOST_SLOWER, slower

        await eventually(lambda: has_open(product, 0), _DROPPED_AFTER_SECONDS + 60)
        for connection in connections:
            connection.transport.abort()
    booked, answers = await product.booked(sleeper.tenant_id), len(slower) * _STALLED
    assert booked["chats"] == answers and booked["completion_tokens"] == answers * _LONG
