"""The whole product as processes on the session's servers, and how a test speaks to it as one of its users."""

from __future__ import annotations

import asyncio
import json
import os
import re
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx2
from websockets.asyncio.client import ClientConnection, connect

from docuchat_common.messaging.topology import SERVICES
from docuchat_local.environment import ROOT
from docuchat_local.product import RunningProduct, started_product
from docuchat_setup.roles import app_role, role_names, system_role
from docuchat_testkit.databases import ROLE_PASSWORD, run_blocking, with_database
from docuchat_testkit.event_watch import check_events, watch_events
from docuchat_testkit.eventually import eventually
from docuchat_testkit.forked import start_module
from docuchat_testkit.identity import SERVICE_PASSWORD
from docuchat_testkit.pdf import small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.quotas import set_token_quota
from docuchat_testkit.servers import TestServers

__all__ = ["Product", "User", "small_pdf", "started_test_product"]

PROVIDER_KEY = "sk-stub-canary-6f1d0c7e5b"
_COMMAND_SECONDS = 60
_REDIS_DATABASES = 16
_MANY = "100000/minute"

# What would otherwise stop a suite that is many users on one address, and time-outs that a test can wait for.
_TEST_SETTINGS = {
    "RATE_LIMIT_PER_MINUTE": "0",
    "RATE_LIMIT_PER_ADDRESS": "0",
    "MAX_SOCKETS_PER_USER": "1000",
    "MAX_SOCKETS_PER_ADDRESS": "1000",
    "CODE_SENDS_PER_EMAIL": _MANY,
    "CODE_SENDS_PER_ADDRESS": _MANY,
    "CODE_SENDS_PER_EMAIL_AND_ADDRESS": _MANY,
    "CODE_TRIES_PER_ADDRESS": _MANY,
    "REGISTRATIONS_PER_ADDRESS": _MANY,
    "PASSWORDS_PER_ADDRESS": _MANY,
    "INVITATIONS_PER_TENANT": _MANY,
    "LOGIN_REFUSED_AFTER": "20ms",
    "PROVIDER_FIRST_TOKEN_TIMEOUT": "3",
    "PROVIDER_BETWEEN_TOKENS_TIMEOUT": "2",
}


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who has signed in."""

    tenant_id: int
    id: str
    email: str
    token: str
    refresh_token: str
    http: httpx2.AsyncClient
    gateway_url: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", "X-Tenant-ID": str(self.tenant_id)}

    async def upload(self, file: Path | bytes, *, filename: str | None = None, **fields: str) -> dict[str, Any]:
        """The document as the upload answered it."""
        name = file.name if isinstance(file, Path) else "document.pdf"
        content = await asyncio.to_thread(file.read_bytes) if isinstance(file, Path) else file
        response = await self.http.post(
            "/v1/files", files={"file": (filename or name, content, "application/pdf")}, data=fields
        )
        assert response.status_code in (200, 202), response.text
        return dict(response.json())

    async def document(self, document_id: str) -> dict[str, Any]:
        response = await self.http.get(f"/v1/files/{document_id}")
        assert response.status_code == 200, response.text
        return dict(response.json())

    async def settled(self, document_id: str, timeout: float = 60) -> dict[str, Any]:
        """The document once it is ready or failed."""

        async def check() -> dict[str, Any]:
            document = await self.document(document_id)
            assert document["status"] in {"ready", "failed"}, document
            return document

        return await eventually(check, timeout)

    async def ready(self, file: Path | bytes, *, timeout: float = 60, **fields: str) -> dict[str, Any]:
        """Upload, wait, and insist on `ready`."""
        document = await self.settled((await self.upload(file, **fields))["id"], timeout)
        assert document["status"] == "ready", document
        return document

    async def search(self, query: str, **parameters: str | int) -> list[dict[str, Any]]:
        response = await self.http.get("/v1/search", params={"q": query, **parameters})
        assert response.status_code == 200, response.text
        return list(response.json()["items"])

    async def usage(self) -> dict[str, Any]:
        response = await self.http.get("/v1/usage")
        assert response.status_code == 200, response.text
        return dict(response.json())

    @asynccontextmanager
    async def socket(self, **options: Any) -> AsyncIterator[ClientConnection]:
        """An open chat socket, authorized by headers unless `path` says otherwise."""
        path = options.pop("path", "/ws/chat")
        options.setdefault("additional_headers", self.headers)
        async with connect("ws" + self.gateway_url.removeprefix("http") + path, proxy=None, **options) as socket:
            yield socket

    async def ask(self, message: str, **fields: Any) -> list[dict[str, Any]]:
        """All frames of one answer over the WebSocket, from the first to `end` or `error`."""
        async with self.socket() as socket:
            await socket.send(json.dumps({"message": message, **fields}))
            return await frames_until_end(socket)


async def frames_until_end(socket: ClientConnection, timeout: float = 60) -> list[dict[str, Any]]:
    """What comes until `end` or `error`, that included."""
    frames: list[dict[str, Any]] = []
    async with asyncio.timeout(timeout):
        while not frames or frames[-1]["type"] not in {"end", "error"}:
            frames.append(json.loads(await socket.recv()))
    return frames


def answer_text(frames: list[dict[str, Any]]) -> str:
    """The text of the deltas, whose numbers must be 1, 2, 3, …"""
    deltas = [frame for frame in frames if frame["type"] == "delta"]
    assert [delta["seq"] for delta in deltas] == list(range(1, len(deltas) + 1))
    return "".join(delta["token"] for delta in deltas)


@dataclass(frozen=True, slots=True)
class Product:
    """A running product on servers that a test can look into, and break where they may be broken."""

    running: RunningProduct
    servers: TestServers
    admin_url: str
    rabbitmq_url: str
    redis_url: str
    provider: StubProviderHandle | None

    @property
    def url(self) -> str:
        return self.running.gateway_url

    def role_url(self, service: str, *, system: bool = False) -> str:
        """The product's database as one of the services logs in to it."""
        database = urlsplit(self.admin_url).path.removeprefix("/")
        return with_database(self.admin_url, database, system_role(service) if system else app_role(service))

    def run_module(self, service: str, module: str, *arguments: str, **changes: str) -> str:
        """What `python -m module arguments` prints in that service's environment."""
        environment = self.running.env_for(service) | changes
        with NamedTemporaryFile("r") as printed:
            process = start_module(module, *arguments, environment=environment, output=Path(printed.name))
            process.join(_COMMAND_SECONDS)
            told = printed.read()
        assert process.exitcode == 0, told
        return told

    async def new_tenant(self) -> int:
        """The id of an empty tenant."""
        return await asyncio.to_thread(self.create_tenant, f"t-{uuid.uuid4().hex[:12]}")

    def create_tenant(self, slug: str) -> int:
        """The id of the tenant of this short name, which is made when there is none."""
        said = self.run_module("auth", "docuchat_auth", "create-tenant", "--slug", slug, "--signup", "open")
        found = re.search(rf"^tenant (\d+) {slug}\b", said, re.MULTILINE)
        assert found, said
        return int(found[1])

    async def set_quota(self, tenant_id: int, tokens: int, *, unit: str = "tokens") -> None:
        """Limit the tokens, or another unit, that a tenant may use in a month."""
        await set_token_quota(self.admin_url, tenant_id, tokens, unit=unit)

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[httpx2.AsyncClient]:
        """A bare client of the gateway."""
        async with httpx2.AsyncClient(base_url=self.url, timeout=30, trust_env=False, **options) as http:
            yield http

    @asynccontextmanager
    async def user(self, tenant_id: int | str = 1, email: str | None = None) -> AsyncIterator[User]:
        """Sign somebody in by a code out of auth's log."""
        address = email or f"user-{uuid.uuid4().hex[:10]}@example.com"
        async with self.client(headers={"X-Tenant-ID": str(tenant_id)}) as http:
            since = self.running.processes["auth"].log.stat().st_size
            sent = await http.post("/v1/auth/request-code", json={"email": address})
            assert sent.status_code == 202, sent.text
            code = await asyncio.to_thread(self.running.sign_in_code, since)
            verified = await http.post("/v1/auth/verify-code", json={"email": address, "code": code})
            assert verified.status_code == 200, verified.text
            tokens = verified.json()
            http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
            me = (await http.get("/v1/users/me")).json()
            yield User(
                tenant_id=me["tenant"]["id"],
                id=me["id"],
                email=address,
                token=tokens["access_token"],
                refresh_token=tokens["refresh_token"],
                http=http,
                gateway_url=self.url,
            )

    @asynccontextmanager
    async def database(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A connection of the administrator, to look behind the product's back."""
        connection = await asyncpg.connect(self.admin_url)
        try:
            yield connection
        finally:
            await connection.close()

    async def booked(self, tenant_id: int) -> dict[str, int]:
        """Sums of the tenant's ledger, and how many entries there are."""
        async with self.database() as connection:
            row = await connection.fetchrow(
                """
                SELECT count(*) FILTER (WHERE kind = 'chat') AS chats,
                       coalesce(sum(input_tokens) FILTER (WHERE kind = 'chat'), 0)::bigint AS prompt_tokens,
                       coalesce(sum(output_tokens), 0)::bigint AS completion_tokens,
                       coalesce(sum(embedding_tokens), 0)::bigint AS embedding_tokens
                FROM usage.ledger WHERE tenant_id = $1
                """,
                tenant_id,
            )
        assert row is not None
        return dict(row)

    async def chunks(self, document_id: str) -> list[tuple[Any, ...]]:
        """The live chunks of a document: number, pages, place and text."""
        async with self.database() as connection:
            rows = await connection.fetch(
                """
                SELECT c.ordinal, c.page, c.page_to, c.char_start, c.char_end, c.text
                FROM knowledge.chunks c
                JOIN knowledge.documents d ON d.id = c.document_id AND d.generation = c.generation
                WHERE d.id = $1 ORDER BY c.ordinal, c.id
                """,
                uuid.UUID(document_id),
            )
        return [tuple(row) for row in rows]

    async def stored_text(self, document_id: str) -> str:
        """The document's text as its chunks hold it, overlaps taken out."""
        text, end = "", 0
        for _, _, _, start, stop, chunk in await self.chunks(document_id):
            if stop > end:
                # spans count characters of the whole document; what lies between two chunks is white space
                text += chunk[max(0, end - start) :] if start < end else " " + chunk
                end = stop
        return text

    async def healthy(self, timeout: float = 60) -> None:
        """Wait until every process is ready."""
        for process in self.running.processes.values():
            if process.is_wanted:
                await asyncio.to_thread(process.wait_until_ready, timeout)


@contextmanager
def started_test_product(
    folder: Path,
    servers: TestServers,
    *,
    redis_number: int,
    provider: StubProviderHandle | None = None,
    settings: Mapping[str, str] | None = None,
    database_port: int | None = None,
) -> Iterator[Product]:
    """Run every service on a database, a Redis database and a virtual host of its own on `servers`.

    With a `provider` it is the model provider; without one the product is as it is with no account anywhere.
    `database_port` is where the product finds its database when a proxy stands before it.
    """
    name = f"docuchat_product_{uuid.uuid4().hex[:10]}"
    run_blocking(_execute(servers.postgres_url, "CREATE DATABASE %I TEMPLATE template0 ENCODING 'UTF8'", name))
    admin_url = with_database(servers.postgres_url, name)
    rabbitmq_url = servers.new_rabbitmq_url()
    number = 1 + (os.getpid() + redis_number) % (_REDIS_DATABASES - 1)
    redis_url = urlunsplit(urlsplit(servers.redis_url)._replace(path=f"/{number}"))
    folder.mkdir(parents=True, exist_ok=True)
    # roles belong to the server, which the template database of other tests shares
    secrets = folder / "secrets.json"
    passwords = {f"role_{role}": ROLE_PASSWORD for role in role_names()}
    passwords |= {f"broker_{service}": SERVICE_PASSWORD for service in SERVICES}
    secrets.write_text(json.dumps(passwords))
    given = {
        **_TEST_SETTINGS,
        "BACKING": "external",
        "DATABASE_URL": _with_port(admin_url, database_port),
        "REDIS_URL": redis_url,
        "RABBITMQ_URL": rabbitmq_url,
        "CHAT_TITLES": "false",
        "QUESTION_REWRITING": "false",
        "WIDGET_FILE": str(_widget_in(folder)),
        **({"OPENAI_API_KEY": PROVIDER_KEY, "OPENAI_BASE_URL": provider.base_url} if provider else {}),
        **(settings or {}),
    }
    try:
        with started_product(folder, given, fast=True) as running:
            run_blocking(watch_events(admin_url))
            yield Product(running, servers, admin_url, rabbitmq_url, redis_url, provider)
        run_blocking(check_events(admin_url))
    finally:
        servers.drop_rabbitmq_url(rabbitmq_url)
        run_blocking(_execute(servers.postgres_url, "DROP DATABASE IF EXISTS %I WITH (FORCE)", name))


def _widget_in(folder: Path) -> Path:
    """The widget where it is built, else a script in its place: its own tests are among the heavy ones."""
    built = ROOT / "web" / "widget" / "dist" / "widget.js"
    if built.exists():
        return built
    script = folder / "widget.js"
    script.write_text("/*! DocuChat widget 0.0.0 */\n")
    return script


def _with_port(url: str, port: int | None) -> str:
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}")) if port else url


async def _execute(admin_url: str, template: str, name: str) -> None:
    connection = await asyncpg.connect(admin_url)
    try:
        await connection.execute(await connection.fetchval("SELECT format($1::text, $2::text)", template, name))
    finally:
        await connection.close()
