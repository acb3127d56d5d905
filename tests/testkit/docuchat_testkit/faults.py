"""Parts of a running product that a test kills, freezes and restarts, and a proxy that loses answers to COMMIT."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from docuchat_local.processes import Process
from docuchat_local.services import ServiceProcess
from docuchat_testkit.product import Product, started_test_product
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.servers import Breakable, TestServers

_COMMITS = (b"Q\x00\x00\x00\x0bCOMMIT\x00", b"Q\x00\x00\x00\x0cCOMMIT;\x00")
"""A COMMIT as our transactions and as asyncpg's own send it."""


@dataclass(frozen=True, slots=True)
class Part:
    """A service's process, or a server."""

    name: str
    handle: Breakable | ServiceProcess

    def kill(self) -> None:
        """SIGKILL it; it stays down."""
        self.handle.kill()

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self.handle.start()

    def freeze(self) -> None:
        self._held.freeze()

    def thaw(self) -> None:
        self._held.thaw()

    @property
    def _held(self) -> Breakable | Process:
        return self.handle.process if isinstance(self.handle, ServiceProcess) else self.handle


def parts_of(product: Product) -> dict[str, Part]:
    """Everything that can break, by name."""
    servers = product.servers
    assert servers.postgres and servers.redis and servers.rabbitmq
    named: dict[str, Breakable | ServiceProcess] = {
        **product.running.processes,
        "postgres": servers.postgres,
        "redis": servers.redis,
        "rabbitmq": servers.rabbitmq,
    }
    return {name: Part(name, handle) for name, handle in named.items()}


def resident_megabytes(product: Product) -> dict[str, float]:
    """Memory of each service's process."""
    sizes = {}
    for name, process in product.running.processes.items():
        status = Path(f"/proc/{process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        sizes[name] = int(line.split()[1]) / 1024
    return sizes


@dataclass(slots=True)
class CommitLoser:
    """Between services and PostgreSQL: a share of the COMMITs takes place, and is never answered."""

    port: int
    """Where the proxy listens."""
    chance: random.Random
    share: float = 0.0
    lost: int = 0

    async def relay(self, target: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        try:
            upstream, downstream = await asyncio.open_connection(*target)
        except OSError:
            writer.transport.abort()
            return
        silenced = False

        async def to_server() -> None:
            nonlocal silenced
            while data := await reader.read(65536):
                if data.endswith(_COMMITS) and self.chance.random() < self.share:
                    silenced = True
                downstream.write(data)
                await downstream.drain()

        async def to_client() -> None:
            while data := await upstream.read(65536):
                if silenced:  # the server has answered: it is committed
                    self.lost += 1
                    return
                writer.write(data)
                await writer.drain()

        ways = {asyncio.create_task(to_server()), asyncio.create_task(to_client())}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.transport.abort()
            downstream.transport.abort()


@asynccontextmanager
async def losing_commits(database_url: str, seed: int) -> AsyncIterator[CommitLoser]:
    """A proxy in front of a database server, which loses nothing until `share` is set."""
    parts = urlsplit(database_url)
    target = (parts.hostname or "127.0.0.1", parts.port or 5432)
    loser = CommitLoser(0, random.Random(seed))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await loser.relay(target, reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    loser.port = server.sockets[0].getsockname()[1]
    try:
        yield loser
    finally:
        server.close()


@asynccontextmanager
async def product_that_loses_commits(
    servers: TestServers,
    folder: Path,
    provider: StubProviderHandle,
    *,
    redis_number: int,
    seed: int,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[tuple[Product, CommitLoser]]:
    """A product of its own with `losing_commits` before its database."""
    async with losing_commits(servers.postgres_url, seed) as loser:
        context = started_test_product(
            folder,
            servers,
            redis_number=redis_number,
            provider=provider,
            settings=settings,
            database_port=loser.port,
        )
        product = await asyncio.to_thread(context.__enter__)
        try:
            yield product, loser
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)
