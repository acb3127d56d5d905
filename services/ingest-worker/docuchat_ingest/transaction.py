"""What one unit of work can reach. The SQL of schema `knowledge` is in docuchat_knowledge, and only there."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeVar

import asyncpg

from docuchat_common.db.transactions import Reader
from docuchat_common.erasure import Erasures
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.idempotency import IdempotentRequests
from docuchat_common.ids import TenantId
from docuchat_common.messaging.inbox import Inbox
from docuchat_common.messaging.outbox import Outbox
from docuchat_common.metering import ProviderCalls
from docuchat_common.retention import RetentionRules
from docuchat_knowledge.documents.repository import DocumentRegistry
from docuchat_knowledge.exports.repository import ExportWork
from docuchat_knowledge.jobs.claims import ClaimStore
from docuchat_knowledge.jobs.reembedding import ReembeddingStore
from docuchat_knowledge.jobs.repository import WorkerStore
from docuchat_knowledge.removals.leftovers import LeftoverRepository
from docuchat_knowledge.removals.repository import LegacyRepository

SCHEMA = "knowledge"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Transaction:
    """One unit of work. `claims` works in a system transaction, `writes` and `documents` within a tenant's."""

    claims: ClaimStore
    writes: WorkerStore
    reembedding: ReembeddingStore
    calls: ProviderCalls
    erasures: Erasures
    retention: RetentionRules
    documents: DocumentRegistry
    legacies: LegacyRepository
    leftovers: LeftoverRepository
    exports: ExportWork
    requests: IdempotentRequests
    outbox: Outbox


def compose(connection: asyncpg.Connection, outbox: Outbox, _: Inbox) -> Transaction:
    return Transaction(
        claims=ClaimStore(connection),
        writes=WorkerStore(connection),
        reembedding=ReembeddingStore(connection),
        calls=ProviderCalls(connection, SCHEMA, outbox),
        erasures=Erasures(connection, SCHEMA),
        retention=RetentionRules(connection, SCHEMA),
        documents=DocumentRegistry(connection),
        legacies=LegacyRepository(connection),
        leftovers=LeftoverRepository(connection),
        exports=ExportWork(connection),
        requests=IdempotentRequests(connection, SCHEMA),
        outbox=outbox,
    )


class IngestUnitOfWork(Protocol):
    def __call__(self, tenant_id: TenantId) -> AbstractAsyncContextManager[Transaction]: ...

    def as_caller(self, caller: Reader) -> AbstractAsyncContextManager[Transaction]: ...

    def system(self) -> AbstractAsyncContextManager[Transaction]: ...


@dataclass(frozen=True, slots=True)
class PatientCommits:
    """Units of work that are repeated while the database is away: what was read and embedded is kept."""

    uow: IngestUnitOfWork
    patience: timedelta = timedelta(seconds=25)
    """How long a step waits for the database to come back before the document is left to its lease."""

    async def __call__(self, tenant_id: TenantId, effect: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `effect` in the tenant's transaction. Raises UpstreamUnavailable when patience ends."""
        deadline = time.monotonic() + self.patience.total_seconds()
        pause = 0.1
        while True:
            try:
                async with self.uow(tenant_id) as tx:
                    return await effect(tx)
            except UpstreamUnavailable:
                if time.monotonic() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)
