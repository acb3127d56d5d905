"""A migrated database with one embedding space, and the knowledge base as each role sees it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import asyncpg
import numpy as np
import pytest

from docuchat_common.db import Database
from docuchat_common.db.presence import Presence
from docuchat_common.db.transactions import transaction
from docuchat_common.http.caller import Caller
from docuchat_common.ids import DocumentId, TenantId, uuid7
from docuchat_knowledge.collections.repository import CollectionRepository
from docuchat_knowledge.documents.domain import Document, NewDocument
from docuchat_knowledge.documents.repository import DocumentRegistry
from docuchat_knowledge.jobs.claims import LOCK_CLASS, ClaimStore
from docuchat_knowledge.jobs.domain import ChunkDraft, Claim, Completion
from docuchat_knowledge.jobs.repository import WorkerStore
from docuchat_knowledge.search.domain import ScoredChunk
from docuchat_knowledge.search.service import Searcher
from docuchat_knowledge.search.statistics import SearchStatistics
from docuchat_knowledge.spaces.repository import ensure_space
from docuchat_models.spaces import EmbeddingSpace
from docuchat_testkit.databases import ClonedDatabase

SPACE = EmbeddingSpace("test", "axes", 4)
LEASE = timedelta(minutes=1)


def draft(ordinal: int, text: str, language: str | None = "en") -> ChunkDraft:
    return ChunkDraft(ordinal, 1, 1, 0, len(text), text, len(text.split()), language)


def axis(number: int) -> np.ndarray:
    return np.eye(SPACE.dimension, dtype=np.float32)[number]


@dataclass
class Knowledge:
    """The three services' views of one database."""

    database: ClonedDatabase
    gateway: Database
    ingest: Database
    chat: Database
    statistics: SearchStatistics
    space: EmbeddingSpace = SPACE

    draft = staticmethod(draft)
    axis = staticmethod(axis)

    @asynccontextmanager
    async def transaction(
        self, service: str, tenant: int | None, reader: Caller | None = None
    ) -> AsyncIterator[asyncpg.Connection]:
        """As the services' unit of work opens it; no tenant: the system role."""
        database: Database = getattr(self, service)
        of_tenant = None if tenant is None else TenantId(tenant)
        async with (
            database.connection(system=tenant is None) as connection,
            transaction(connection, of_tenant, reader),
        ):
            yield connection

    async def upload(
        self, tenant: int, content: str = "", title: str = "Report", *, uploaded_by: UUID | None = None
    ) -> Document:
        async with self.transaction("gateway", tenant) as connection:
            registry = DocumentRegistry(connection)
            collection = await CollectionRepository(connection).open_default(TenantId(tenant))
            document_id = DocumentId(uuid7())
            registration = await registry.register(
                NewDocument(
                    id=document_id,
                    tenant_id=TenantId(tenant),
                    collection_id=collection.id,
                    title=title,
                    filename="report.pdf",
                    media_type="application/pdf",
                    size_bytes=10,
                    sha256=hashlib.sha256((content or str(document_id)).encode()).hexdigest(),
                    blob_key=f"tenants/{tenant}/documents/{document_id}",
                    uploaded_by=uploaded_by,
                )
            )
            return registration.document

    async def claim(
        self, worker_id: int, lease: timedelta = LEASE, max_attempts: int = 3, recipe: str = ""
    ) -> Claim | None:
        async with self.transaction("ingest", None) as connection:
            return await ClaimStore(connection).claim(worker_id, lease=lease, max_attempts=max_attempts, recipe=recipe)

    async def write(self, claim: Claim, chunks: Sequence[ChunkDraft], vectors: np.ndarray | None = None) -> None:
        if vectors is None:
            vectors = np.tile(axis(0), (len(chunks), 1))
        async with self.transaction("ingest", claim.tenant_id) as connection:
            await WorkerStore(connection).write_chunks(claim, SPACE, chunks, vectors)

    async def swap(self, claim: Claim) -> Completion:
        async with self.transaction("ingest", claim.tenant_id) as connection:
            return await WorkerStore(connection).swap(claim, pages=1)

    async def ingest_texts(
        self,
        worker: Presence,
        tenant: int,
        texts: Sequence[str],
        language: str | None = "en",
        vectors: np.ndarray | None = None,
    ) -> Document:
        """Upload a document and bring it to ready, one chunk a text."""
        document = await self.upload(tenant)
        claim = await self.claim(worker.process_id)
        assert claim is not None
        assert claim.document_id == document.id
        await self.write(claim, [draft(number, text, language) for number, text in enumerate(texts)], vectors)
        await self.swap(claim)
        return document

    async def get(self, document: Document) -> Document:
        async with self.transaction("gateway", document.tenant_id) as connection:
            return await DocumentRegistry(connection).get(document.tenant_id, document.id)

    async def search(
        self,
        tenant: int,
        text: str = "",
        vector: np.ndarray | None = None,
        limit: int = 10,
        reader: Caller | None = None,
        **filters: object,
    ) -> Sequence[ScoredChunk]:
        async with self.transaction("chat", tenant, reader) as connection:
            return await Searcher(connection, self.statistics).search(
                TenantId(tenant),
                text,
                vector,
                SPACE,
                limit,
                **filters,  # type: ignore[arg-type]
            )

    async def count(self, table: str, tenant: int) -> int:
        """Rows as the administrator sees them; the table's name is a test's own."""
        async with self.database.connect() as admin:
            query = await admin.fetchval(
                "SELECT format('SELECT count(*) FROM knowledge.%I WHERE tenant_id = $1', $1::text)", table
            )
            return int(await admin.fetchval(query, tenant))


@pytest.fixture
async def knowledge(database: ClonedDatabase) -> AsyncIterator[Knowledge]:
    async with database.connect("docuchat_owner") as owner:
        await ensure_space(owner, SPACE)
    async with (
        database.open("gateway") as gateway,
        database.open("ingest") as ingest,
        database.open("chat") as chat,
    ):
        yield Knowledge(database, gateway, ingest, chat, SearchStatistics())


@pytest.fixture
async def worker(knowledge: Knowledge) -> AsyncIterator[Presence]:
    async with Presence.open(knowledge.database.system_url("ingest"), LOCK_CLASS) as presence:
        yield presence
