"""A worker's jobs on a real database, among stand-ins for what is foreign."""

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson

from docuchat_common.db import Database, UnitOfWork
from docuchat_common.ids import DocumentId, TenantId, uuid7
from docuchat_common.metering import Metering
from docuchat_ingest.chunking.chunker import Chunker
from docuchat_ingest.jobs.service import Jobs
from docuchat_ingest.jobs.sweeps import Sweeps
from docuchat_ingest.pipeline.domain import Limits
from docuchat_ingest.pipeline.service import Pipeline
from docuchat_ingest.transaction import SCHEMA, PatientCommits, compose
from docuchat_knowledge.collections.repository import CollectionRepository
from docuchat_knowledge.documents.domain import Document, NewDocument
from docuchat_knowledge.documents.repository import DocumentRegistry
from docuchat_knowledge.jobs.domain import Claim
from docuchat_knowledge.spaces.repository import ensure_space
from docuchat_testkit.databases import ClonedDatabase

from .fakes import SPACE, Absences, Surroundings

TENANT = TenantId(1)
LIMITS = Limits(max_pages=500, max_bytes=2**20, max_attempts=3, embedding_batch=2, lease=timedelta(seconds=30))


@dataclass
class Bench:
    """A worker's jobs on a real database, with a look at the tables."""

    database: ClonedDatabase
    jobs: Jobs
    sweeps: Sweeps
    uow: Absences
    registry: UnitOfWork[tuple[CollectionRepository, DocumentRegistry]]
    around: Surroundings
    documents: list[UUID] = field(default_factory=list)

    async def claim(self, *, attempt: int = 1) -> Claim:
        """Register a document and claim it."""
        document_id = DocumentId(uuid7())
        async with self.registry(TENANT) as (collections, registry):
            collection = await collections.open_default(TENANT)
            await registry.register(
                NewDocument(
                    id=document_id,
                    tenant_id=TENANT,
                    collection_id=collection.id,
                    title="A file",
                    filename="file.pdf",
                    media_type="application/pdf",
                    size_bytes=1,
                    sha256=document_id.hex,
                    blob_key="key",
                    uploaded_by=None,
                )
            )
        await self.rows("UPDATE knowledge.documents SET attempts = $2 WHERE id = $1", document_id, attempt - 1)
        self.documents.append(document_id)
        return await self.claim_again()

    async def claim_again(self) -> Claim:
        await self.rows("UPDATE knowledge.documents SET not_before = now()")
        claim = await self.jobs.claim()
        assert claim is not None
        return claim

    async def document(self) -> Document:
        async with self.registry(TENANT) as (_, registry):
            return await registry.get(TENANT, DocumentId(self.documents[-1]))

    async def delete(self) -> None:
        async with self.registry(TENANT) as (_, registry):
            await registry.delete(TENANT, DocumentId(self.documents[-1]))

    async def rows(self, query: str, *arguments: Any) -> list[Any]:
        async with self.database.connect() as connection:
            rows: list[Any] = await connection.fetch(query, *arguments)
            return rows

    async def events(self) -> list[tuple[str, dict[str, Any]]]:
        rows = await self.rows("SELECT type, body FROM knowledge.outbox ORDER BY id")
        return [(row["type"], orjson.loads(row["body"])) for row in rows]

    async def booked(self, *, estimated: bool = False) -> int:
        """What the ledger will hold: an event id counts once."""
        events = {body["id"]: body["data"] for kind, body in await self.events() if kind == "usage.recorded.v1"}
        return sum(data["input_tokens"] for data in events.values() if data["estimated"] is estimated)

    async def texts(self) -> list[str]:
        rows = await self.rows("SELECT ordinal, text FROM knowledge.chunks ORDER BY ordinal")
        assert [row["ordinal"] for row in rows] == list(range(len(rows)))
        return [row["text"] for row in rows]

    async def open_calls(self) -> int:
        (row,) = await self.rows("SELECT count(*) AS n FROM knowledge.provider_calls WHERE state = 'started'")
        return int(row["n"])


def make_jobs(uow: Absences, around: Surroundings, *, worker_id: int = 1, limits: Limits = LIMITS) -> Jobs:
    async def embedder() -> Surroundings:
        return around

    commit = PatientCommits(uow, timedelta(seconds=2))
    pipeline = Pipeline(
        commit=commit,
        blobs=around,
        reader=around,
        chunker=lambda: Chunker(lambda text: len(text.split()), size=16, overlap=0),
        embedder=embedder,
        quota=around,
        announcer=around,
        limits=limits,
        owner=str(worker_id),
    )
    return Jobs(
        uow=uow,
        commit=commit,
        metering=Metering(uow),
        pipeline=pipeline,
        quota=around,
        announcer=around,
        dead_letters=around,
        meter=around,
        limits=limits,
        worker_id=worker_id,
        recipe="test",
    )


async def make_bench(stack: AsyncExitStack, clone: ClonedDatabase, database: Database) -> Bench:
    async with clone.connect() as admin:
        await ensure_space(admin, SPACE)
    around = Surroundings()
    uow = Absences(UnitOfWork(database, compose, schema=SCHEMA, service="ingest"))
    gateway = await stack.enter_async_context(clone.open("gateway", max_size=2))
    registry: UnitOfWork[tuple[CollectionRepository, DocumentRegistry]] = UnitOfWork(
        gateway, lambda connection, *_: (CollectionRepository(connection), DocumentRegistry(connection)), schema=SCHEMA
    )
    jobs = make_jobs(uow, around)
    sweeps = Sweeps(uow, around, around, around, around, jobs.metering, LIMITS.max_attempts)
    return Bench(clone, jobs, sweeps, uow, registry, around)


async def taken_over(bench: Bench) -> bool:
    await bench.sweeps.take_over_calls()
    return await bench.open_calls() == 0
