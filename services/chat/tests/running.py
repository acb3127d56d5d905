"""The service as a process on real servers, with a stub provider and a small stand-in of the usage service's holds."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.process import BaseProcess
from typing import Any
from uuid import UUID, uuid4

import httpx2
import numpy as np
import orjson
from aiohttp import web

from docuchat_chat.app import create_app
from docuchat_chat.settings import Settings
from docuchat_common.contracts.holds import HoldRequest, HoldUnit
from docuchat_common.db import UnitOfWork
from docuchat_common.events.catalogue import UsageRecorded, parse_event
from docuchat_common.ids import DocumentId, TenantId, uuid7
from docuchat_knowledge.collections.repository import CollectionRepository
from docuchat_knowledge.documents.domain import NewDocument
from docuchat_knowledge.documents.repository import DocumentRegistry
from docuchat_knowledge.jobs.claims import ClaimStore
from docuchat_knowledge.jobs.domain import ChunkDraft
from docuchat_knowledge.jobs.repository import WorkerStore
from docuchat_knowledge.spaces.repository import ensure_space
from docuchat_models.spaces import EmbeddingSpace
from docuchat_testkit.documented import documented
from docuchat_testkit.eventually import eventually
from docuchat_testkit.forked import start_module
from docuchat_testkit.provider_answers import embed

STUB_SPACE = EmbeddingSpace("openai", "text-embedding-3-small", 1536)


QUESTION = "How long is the warranty of the motor?"
TEXTS = [
    "The warranty of the motor lasts two years. Damage by water is not covered.",
    "Parcels are returned free of charge within thirty days of delivery.",
]


@dataclass
class HoldServer:
    """Grants holds up to a number of them; knows which are open."""

    url: str = ""
    limit: int = 10**9
    opened: list[dict[str, Any]] = field(default_factory=list)
    patched: list[dict[str, Any]] = field(default_factory=list)
    open_ids: set[str] = field(default_factory=set)

    async def _open(self, request: web.Request) -> web.Response:
        body = await request.json()
        if len(self.open_ids) >= self.limit:
            problem = {
                "status": 429,
                "code": "quota_exceeded",
                "detail": "Used up.",
                "resets_at": "2026-12-01T00:00:00Z",
            }
            return web.json_response(problem, status=429, headers={"Retry-After": "3600"})
        hold_id = str(uuid7())
        self.open_ids.add(hold_id)
        self.opened.append(body)
        asked = HoldRequest.model_validate(body)
        tokens = asked.amount_of(HoldUnit.INPUT_TOKENS) + asked.amount_of(HoldUnit.OUTPUT_TOKENS)
        return web.json_response(
            {"hold_id": hold_id, "tokens": tokens, "expires_at": "2030-01-01T00:00:00Z"}, status=201
        )

    async def _live(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _patch(self, request: web.Request) -> web.Response:
        self.patched.append(await request.json())
        return web.json_response(
            {"hold_id": request.match_info["id"], "tokens": 1, "expires_at": "2030-01-01T00:00:00Z"}
        )

    async def _delete(self, request: web.Request) -> web.Response:
        self.open_ids.discard(request.match_info["id"])
        return web.Response(status=204)

    @classmethod
    @asynccontextmanager
    async def serving(cls) -> AsyncIterator[HoldServer]:
        server = cls()
        app = web.Application()
        for path in ("/livez", "/readyz"):
            app.router.add_get(path, server._live)
        app.router.add_post("/internal/holds", server._open)
        app.router.add_patch("/internal/holds/{id}", server._patch)
        app.router.add_delete("/internal/holds/{id}", server._delete)
        app.router.add_post("/internal/holds/{id}/settle", server._delete)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield server
        finally:
            await runner.cleanup()


@dataclass
class ChatProcess:
    """One process of the service."""

    url: str
    process: BaseProcess
    http: httpx2.AsyncClient

    async def kill(self) -> None:
        self.process.kill()
        await asyncio.to_thread(self.process.join)

    async def terminate(self) -> int | None:
        """The exit status; None when it has not ended within 30 s."""
        self.process.terminate()
        await asyncio.to_thread(self.process.join, 30)
        return self.process.exitcode


@asynccontextmanager
async def running_chat(environment: dict[str, str]) -> AsyncIterator[ChatProcess]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {
        "PATH": os.environ["PATH"],
        "PORT": str(port),
        "LOG_FORMAT": "json",
        "SHUTDOWN_GRACE": "3s",
        "TURN_SWEEP": "300ms",
        "CHAT_TITLES": "false",
        "QUESTION_REWRITING": "false",
        **environment,
    }
    process = start_module("docuchat_chat", environment=variables)
    url = f"http://127.0.0.1:{port}"
    try:
        hooks = {"response": [documented(create_app, Settings).of_httpx]}
        async with httpx2.AsyncClient(base_url=url, timeout=20, event_hooks=hooks) as http:

            async def ready() -> bool:
                if process.exitcode is not None:
                    raise RuntimeError(f"the service ended with {process.exitcode}")
                return (await http.get("/readyz")).status_code == 200

            await eventually(ready, timeout=90)
            yield ChatProcess(url, process, http)
    finally:
        process.terminate()
        await asyncio.to_thread(process.join, 60)
        process.kill()
        process.join()


async def seed_document(
    database: Any,
    tenant: int,
    texts: Sequence[str],
    *,
    title: str = "Handbook",
    space: EmbeddingSpace = STUB_SPACE,
    vectors: Any = None,
    ready: bool = True,
) -> UUID:
    """A document as gateway and worker would have stored it, a page a text."""
    async with database.connect("docuchat_owner") as owner:
        await ensure_space(owner, space)
    sha = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    tenant_id, document_id = TenantId(tenant), DocumentId(uuid7())
    async with database.open("gateway", max_size=2) as gateway:
        unit: UnitOfWork[tuple[CollectionRepository, DocumentRegistry]] = UnitOfWork(
            gateway, lambda c, *_: (CollectionRepository(c), DocumentRegistry(c)), schema="knowledge"
        )
        async with unit(tenant_id) as (collections, registry):
            collection = await collections.open_default(tenant_id)
            await registry.register(
                NewDocument(
                    document_id, tenant_id, collection.id, title, f"{title}.pdf", "application/pdf", 10, sha, "k", None
                )
            )
    if not ready:
        return document_id
    async with database.open("ingest", max_size=2) as ingest:
        claims: UnitOfWork[ClaimStore] = UnitOfWork(ingest, lambda c, *_: ClaimStore(c), schema="knowledge")
        store: UnitOfWork[WorkerStore] = UnitOfWork(ingest, lambda c, *_: WorkerStore(c), schema="knowledge")
        async with claims.system() as tx:
            claim = await tx.claim(1, lease=timedelta(minutes=1), max_attempts=3)
        assert claim is not None and claim.document_id == document_id
        drafts = [ChunkDraft(i, i + 1, i + 1, 0, len(text), text, len(text) // 4, "en") for i, text in enumerate(texts)]
        if vectors is None:
            vectors = np.stack([embed(text, space.dimension) for text in texts])
        async with store(tenant_id) as writer:
            await writer.write_chunks(claim, space, drafts, vectors)
            await writer.swap(claim, pages=len(texts))
    return document_id


async def usage_events(database: Any) -> list[UsageRecorded]:
    """The usage events that wait in the outbox: nobody subscribes in these tests, so they stay there."""
    async with database.connect() as admin:
        rows = await admin.fetch("SELECT body FROM chat.outbox WHERE type = 'usage.recorded.v1' ORDER BY id")
    events = [parse_event(row["body"]) for row in rows]
    return [event for event in events if isinstance(event, UsageRecorded)]


def parse(frames: bytes) -> list[dict[str, Any]]:
    events = []
    for block in frames.split(b"\n\n"):
        data = [line[6:] for line in block.split(b"\n") if line.startswith(b"data: ")]
        if data:
            events.append(orjson.loads(data[0]))
    return events


class Stage:
    """Processes of the service and everything around them."""

    def __init__(
        self, environment: dict[str, str], database: Any, provider: Any, mint: Any, holds: Any, stack: Any
    ) -> None:
        self.environment = environment
        self.database = database
        self.provider = provider
        self.mint = mint
        self.holds = holds
        self._stack = stack
        self.user = uuid4()
        self.headers = mint.headers(tenant_id=1, user_id=self.user)

    async def start(self, **changes: str) -> Any:
        return await self._stack.enter_async_context(running_chat({**self.environment, **changes}))

    async def seed(self, texts: list[str] | None = None, **fields: Any) -> Any:
        return await seed_document(self.database, fields.pop("tenant", 1), texts or TEXTS, **fields)

    async def events(self) -> list[Any]:
        return [event for event in await usage_events(self.database) if event.kind == "chat"]

    async def ask(self, process: Any, message: str = QUESTION, **fields: Any) -> list[dict[str, Any]]:
        headers = {**self.headers, **fields.pop("headers", {})}
        answer = await process.http.post(
            "/v1/chat", json={"message": message, "stream": True, **fields}, headers=headers
        )
        assert answer.status_code == 200, answer.text
        parsed: list[dict[str, Any]] = parse(answer.content)
        return parsed

    @asynccontextmanager
    async def asking(self, process: Any, message: str = QUESTION) -> AsyncIterator[tuple[dict[str, Any], Any]]:
        async with process.http.stream(
            "POST", "/v1/chat", json={"message": message, "stream": True}, headers=self.headers
        ) as response:
            lines = response.aiter_lines()
            async for line in lines:
                if line.startswith("data: "):
                    yield parse(line.encode() + b"\n\n")[0], lines
                    return
