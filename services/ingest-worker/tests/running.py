"""What the worker needs to run on real servers: the gateway's part of an upload, and usage with its own books."""

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiohttp import web

from docuchat_common.contracts.holds import HoldKind, HoldRequest, HoldUnit
from docuchat_common.db import UnitOfWork
from docuchat_common.events.catalogue import DocumentDeleted, DocumentUploaded
from docuchat_common.events.envelope import Event
from docuchat_common.ids import DocumentId, TenantId, uuid7
from docuchat_ingest import bootstrap
from docuchat_ingest.settings import Settings
from docuchat_knowledge.collections.repository import CollectionRepository
from docuchat_knowledge.documents.domain import Document, DocumentStatus, NewDocument
from docuchat_knowledge.documents.repository import DocumentRegistry
from docuchat_testkit.databases import ClonedDatabase
from docuchat_testkit.eventually import eventually
from docuchat_testkit.messaging import Others

TENANT, OTHER = TenantId(1), TenantId(2)


@dataclass
class UsageStub:
    """Holds that were opened, renewed and dropped; refuses when told to."""

    holds: dict[str, int] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    refuse: bool = False
    url: str = ""

    async def open(self, request: web.Request) -> web.Response:
        if self.refuse:
            body = {
                "code": "quota_exceeded",
                "detail": "The tenant's tokens are used up.",
                "resets_at": "2030-01-01T00:00:00Z",
            }
            return web.json_response(body, status=429, headers={"Retry-After": "60"})
        body = await request.json()
        hold = HoldRequest.model_validate(body)
        assert (hold.kind, bool(hold.provider), bool(hold.model)) == (HoldKind.EMBEDDING, True, True)
        tokens = hold.amount_of(HoldUnit.INPUT_TOKENS)
        hold_id = str(uuid4())
        self.holds[hold_id] = tokens
        return web.json_response(
            {"hold_id": hold_id, "tokens": tokens, "expires_at": "2030-01-01T00:00:00Z"}, status=201
        )

    async def renew(self, request: web.Request) -> web.Response:
        hold_id = request.match_info["hold"]
        return web.json_response(
            {"hold_id": hold_id, "tokens": self.holds[hold_id], "expires_at": "2030-01-01T00:00:00Z"}
        )

    async def drop(self, request: web.Request) -> web.Response:
        self.dropped.append(request.match_info["hold"])
        return web.Response(status=204)


@dataclass
class Product:
    """What surrounds the worker: the gateway's part of an upload, and a look at the tables."""

    database: ClonedDatabase
    environment: dict[str, str]
    registry_uow: UnitOfWork[tuple[CollectionRepository, DocumentRegistry]]
    gateway: Others
    folder: Path

    async def upload(
        self, content: bytes, tenant: TenantId = TENANT, *, ticket: bool = True, blob: bool = True
    ) -> UUID:
        document_id = DocumentId(uuid7())
        sha256 = hashlib.sha256(content).hexdigest()
        key = f"tenants/{tenant}/documents/{document_id}/{sha256}"
        if blob:
            path = self.folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        async with self.registry_uow(tenant) as (collections, registry):
            collection = await collections.open_default(tenant)
            new = NewDocument(
                id=document_id,
                tenant_id=tenant,
                collection_id=collection.id,
                title="A file",
                filename="file.pdf",
                media_type="application/pdf",
                size_bytes=max(len(content), 1),
                sha256=sha256,
                blob_key=key,
                uploaded_by=None,
            )
            await registry.register(new)
        if ticket:
            await self.publish(
                DocumentUploaded(
                    tenant_id=tenant,
                    document_id=document_id,
                    collection_id=collection.id,
                    user_id=None,
                    sha256=sha256,
                    size_bytes=max(len(content), 1),
                    media_type="application/pdf",
                )
            )
        return document_id

    async def publish(self, event: Event) -> None:
        await self.gateway.publish(event)

    async def get(self, document_id: UUID, tenant: TenantId = TENANT) -> Document:
        async with self.registry_uow(tenant) as (_, registry):
            return await registry.get(tenant, DocumentId(document_id))

    async def delete(self, document_id: UUID, tenant: TenantId = TENANT) -> None:
        async with self.registry_uow(tenant) as (_, registry):
            await registry.delete(tenant, DocumentId(document_id))
        await self.publish(DocumentDeleted(tenant_id=tenant, document_id=document_id, user_id=None))

    async def settled(self, document_id: UUID, tenant: TenantId = TENANT, *, timeout: float = 60) -> Document:
        async def check() -> Document:
            document = await self.get(document_id, tenant)
            assert document.status in (DocumentStatus.READY, DocumentStatus.FAILED), document
            return document

        return await eventually(check, timeout)

    async def rows(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self.database.connect() as connection:
            return await connection.fetch(query, *arguments)

    async def assert_whole(self, document_id: UUID) -> None:
        """Every chunk once, in order, with a vector each, of one generation."""
        rows = await self.rows(
            "SELECT c.ordinal, c.generation, (v.chunk_id IS NOT NULL) AS has_vector FROM knowledge.chunks c "
            "LEFT JOIN knowledge.chunk_vectors v ON v.chunk_id = c.id WHERE c.document_id = $1 ORDER BY ordinal",
            document_id,
        )
        assert [row["ordinal"] for row in rows] == list(range(len(rows)))
        assert len({row["generation"] for row in rows}) == 1
        assert all(row["has_vector"] for row in rows)


@asynccontextmanager
async def running_worker(
    product: Product, monkeypatch: pytest.MonkeyPatch, **changes: str
) -> AsyncIterator[bootstrap.Container]:
    """The worker in this process, by its own composition root."""
    for name, value in {**product.environment, **changes}.items():
        monkeypatch.setenv(name, value)
    async with bootstrap.open_container(Settings()) as container:
        yield container


@asynccontextmanager
async def worker_process(product: Product, **changes: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The worker as a process of its own, killed on leaving if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "docuchat_ingest",
        env={"PATH": "/usr/bin:/bin", **product.environment, **changes},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
