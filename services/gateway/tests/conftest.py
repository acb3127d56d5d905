"""A gateway on real servers, with a small real HTTP server in the place of the services behind it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import uvicorn
from aiohttp import web
from services.gateway.tests.fakes import Behind
from yarl import URL

from docuchat_gateway.app import create_app
from docuchat_gateway.bootstrap import Container
from docuchat_gateway.server import gateway_config
from docuchat_gateway.settings import Settings
from docuchat_testkit.databases import ClonedDatabase
from docuchat_testkit.documented import documented
from docuchat_testkit.identity import TokenMint

PDF = b"%PDF-1.7\n" + b"1 0 obj <<>> endobj\n" * 100 + b"%%EOF\n"


class InLoopServer(uvicorn.Server):
    """A server that leaves the signals to pytest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(config: uvicorn.Config) -> AsyncIterator[str]:
    """The base URL of an application that is served on a free port of this loop."""
    # asyncio lets small writes wait for their acknowledgement (40 ms) on a socket whose protocol it cannot see
    listener = socket.socket(fileno=socket.create_server(("127.0.0.1", 0)).detach())
    server = InLoopServer(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                task.result()
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


@dataclass
class Gateway:
    """A running gateway and what a test needs around it."""

    url: str
    mint: TokenMint
    http: aiohttp.ClientSession
    behind: Behind
    database: ClonedDatabase
    blobs: Path
    settings: Settings
    container: Container
    user: uuid.UUID = field(default_factory=uuid.uuid4)

    def headers(self, **of_token: Any) -> dict[str, str]:
        return self.mint.headers(user_id=self.user, **of_token)

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/ws/chat"

    async def upload(
        self,
        content: bytes = PDF,
        filename: str = "document.pdf",
        headers: dict[str, str] | None = None,
        to: str = "/v1/files",
        **fields: str,
    ) -> aiohttp.ClientResponse:
        form = aiohttp.FormData()
        form.add_field("file", io.BytesIO(content), filename=filename)
        for name, value in fields.items():
            form.add_field(name, value)
        return await self.call("POST", to, data=form, headers=self.headers() | (headers or {}))

    async def call(self, method: str, path: str | URL, **options: Any) -> aiohttp.ClientResponse:
        """A response that was read to its end."""
        async with self.http.request(method, path, **options) as response:
            await response.read()
            return response

    def stored(self) -> list[Path]:
        """Every file in the blob store, also unfinished ones."""
        return [path for path in self.blobs.rglob("*") if path.is_file()]

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        async with self.database.connect() as connection:
            return await connection.fetchval(query, *arguments)


@pytest_asyncio.fixture
async def behind() -> AsyncIterator[Behind]:
    state = Behind()
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", state.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    state.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield state
    await runner.cleanup()


OpenGateway = Callable[..., contextlib.AbstractAsyncContextManager[Gateway]]


@pytest.fixture
def open_gateway(
    service_environment: Callable[[str], dict[str, str]],
    database: ClonedDatabase,
    token_mint: TokenMint,
    behind: Behind,
    tmp_path: Path,
) -> OpenGateway:
    """Starts a gateway with other settings than usual."""

    @contextlib.asynccontextmanager
    async def open_with(**changes: Any) -> AsyncIterator[Gateway]:
        environment = {name.lower(): value for name, value in service_environment("gateway").items()}
        behind_urls = {"chat_url": behind.url, "usage_url": behind.url}
        settings = Settings(
            **(environment | behind_urls | {"rate_limit_per_minute": 0, "rate_limit_per_address": 0} | changes)
        )
        app = create_app(settings)
        known = documented(create_app, Settings, frontend_origin="")
        async with (
            serving(gateway_config(app, settings)) as url,
            aiohttp.ClientSession(
                url, timeout=aiohttp.ClientTimeout(total=30), raise_for_status=known.of_aiohttp
            ) as http,
        ):
            yield Gateway(url, token_mint, http, behind, database, tmp_path / "blobs", settings, app.state.container)

    return open_with


@pytest_asyncio.fixture
async def gateway(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    async with open_gateway() as running:
        yield running
