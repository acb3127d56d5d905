"""What the tombstones of deleted tenants cost those that live: the triggers that look for them.

`.venv/bin/python benchmarks/tombstones.py [--times 300]` starts its own PostgreSQL. Two equal databases, one without
the triggers, are worked on in turns, so that other work of the machine meets both. Beside the time that a client waits
stands the processor time of the server's sessions, which other work moves less. All are medians.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import structlog

from docuchat_chat.answers.domain import Citation, Passage, Source
from docuchat_chat.transaction import ChatTx, composer
from docuchat_chat.turns.domain import Outcome, Question, Turn, TurnState
from docuchat_common.clock import SystemClock
from docuchat_common.contracts.holds import Amount, HoldKind, HoldRequest, HoldUnit, Subject, SubjectType
from docuchat_common.db import Database, UnitOfWork
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatId, ChunkId, DocumentId, MessageId, TenantId, TurnId, uuid7
from docuchat_common.metering import ProviderCall, Used
from docuchat_gateway.transaction import compose as compose_gateway
from docuchat_ingest.transaction import compose as compose_ingest
from docuchat_knowledge.documents.domain import NewDocument
from docuchat_knowledge.jobs.domain import ChunkDraft
from docuchat_knowledge.spaces.repository import ensure_space
from docuchat_models.spaces import EmbeddingSpace
from docuchat_testkit.databases import ClonedDatabase, build_template, clone, run_blocking
from docuchat_testkit.servers import local_servers
from docuchat_usage.ledger.domain import Kind, Usage
from docuchat_usage.ledger.service import LedgerService
from docuchat_usage.quotas.service import Policy, QuotaService
from docuchat_usage.transaction import compose as compose_usage

TENANT = TenantId(1)
CALLER = Caller(TENANT, "user", uuid7(), "member")
SPACE = EmbeddingSpace("openai", "text-embedding-3-small", 256)
CHUNKS, BATCH = 10_000, 250
TRIGGERS = """
SELECT format('DROP TRIGGER refuse_erased ON %s', tgrelid::regclass) FROM pg_trigger WHERE tgname = 'refuse_erased'
"""
ROW = "{:44} {:>12} {:>12} {:>9} {:>14} {:>12} {:>9}"

Work = Callable[[], Awaitable[object]]


@dataclass
class Arm:
    """One of the two databases: what is done there, and what each time took."""

    work: Work
    processes: Sequence[int]
    waited: list[float] = field(default_factory=list)
    spent: list[float] = field(default_factory=list)

    async def once(self) -> None:
        """Work, and note microseconds."""
        cpu, began = self._cpu(), time.perf_counter()
        await self.work()
        self.waited.append((time.perf_counter() - began) * 1e6)
        self.spent.append((self._cpu() - cpu) / 1e3)

    def _cpu(self) -> int:
        """Nanoseconds that the sessions have been on a processor."""
        return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in self.processes)


Prepare = Callable[[ClonedDatabase], AbstractAsyncContextManager[Arm]]


async def paired(name: str, databases: Sequence[ClonedDatabase], prepare: Prepare, times: int, warm: int = 20) -> None:
    """Work in both in turns, each time in the other order, and print what that took."""
    async with AsyncExitStack() as stack:
        arms = [await stack.enter_async_context(prepare(database)) for database in databases]
        for _ in range(warm):
            for arm in arms:
                await arm.work()
        for number in range(times):
            for arm in arms if number % 2 else arms[::-1]:
                await arm.once()
    columns: list[str] = []
    for taken in ([arm.waited for arm in arms], [arm.spent for arm in arms]):
        without, with_ = map(statistics.median, taken)
        columns += [f"{without:,.0f}", f"{with_:,.0f}", f"{100 * (with_ / without - 1):+.1f} %"]
    print(ROW.format(name, *columns), flush=True)


async def processes_of(*pools: Database) -> list[int]:
    """The server's processes of pools with one connection each."""
    found = []
    for pool in pools:
        for system in (False, True):
            async with pool.connection(system=system) as connection:
                found.append(int(await connection.fetchval("SELECT pg_backend_pid()")))
    return found


def new_document(collection_id: object) -> NewDocument:
    document_id = DocumentId(uuid7())
    return NewDocument(
        document_id, TENANT, collection_id, "Volume", "volume.pdf", "application/pdf", 1, str(document_id), "key", None
    )  # fmt: skip


@asynccontextmanager
async def registering(database: ClonedDatabase) -> AsyncIterator[Arm]:
    """The gateway's last transaction of an upload."""
    async with database.open("gateway", max_size=1) as pools:
        uow = UnitOfWork(pools, compose_gateway, schema="knowledge", service="gateway")
        async with uow.as_caller(CALLER) as tx:
            collection = await tx.collections.open_default(TENANT)

        async def register() -> None:
            async with uow.as_caller(CALLER) as tx:
                await tx.documents.register(new_document(collection.id))

        yield Arm(register, await processes_of(pools))


@asynccontextmanager
async def reading(database: ClonedDatabase) -> AsyncIterator[Arm]:
    """The worker's writing of a document of many chunks, each batch with a call of a provider that is paid."""
    async with (
        database.open("gateway", max_size=1) as gateway,
        database.open("ingest", max_size=1) as ingest,
        database.connect("docuchat_owner") as owner,
        database.connect() as admin,
    ):
        await ensure_space(owner, SPACE)
        uow = UnitOfWork(gateway, compose_gateway, schema="knowledge", service="gateway")
        worker = UnitOfWork(ingest, compose_ingest, schema="knowledge", service="ingest-worker")
        async with uow.as_caller(CALLER) as tx:
            collection = await tx.collections.open_default(TENANT)
        words = " ".join(f"word{number}" for number in range(60))
        drafts = [ChunkDraft(n, 1, 1, 0, len(words), f"{words} {n}", 90, "en") for n in range(CHUNKS)]
        vectors = np.random.default_rng(7).normal(size=(CHUNKS, SPACE.dimension)).astype(np.float32)
        await admin.execute("DELETE FROM knowledge.documents")

        async def read() -> None:
            async with uow.as_caller(CALLER) as tx:
                await tx.documents.register(new_document(collection.id))
            async with worker.system() as tx:
                claim = await tx.claims.claim(1, lease=timedelta(minutes=9), max_attempts=3)
            assert claim is not None
            for first in range(0, CHUNKS, BATCH):
                part = slice(first, first + BATCH)
                async with worker(TENANT) as tx:
                    await tx.calls.declare(
                        ProviderCall(
                            id=uuid7(), tenant_id=TENANT, kind="embedding", provider="openai", model=SPACE.model,
                            expected_input_tokens=BATCH * 90, owner="1", document_id=claim.document_id,
                        )
                    )  # fmt: skip
                    await tx.writes.write_chunks(claim, SPACE, drafts[part], vectors[part])
            async with worker(TENANT) as tx:
                await tx.writes.swap(claim, pages=100)

        yield Arm(read, await processes_of(gateway, ingest))


@asynccontextmanager
async def chatting(database: ClonedDatabase) -> AsyncIterator[Arm]:
    """Chat's two writes of a turn: the question, and the answer with its books."""
    passage = Passage(ChunkId(uuid7()), DocumentId(uuid7()), "Volume", "volume.pdf", 1, 1, "text", 0.5)
    sources = tuple(Source(number, passage) for number in range(1, 7))
    citation = Citation(1, passage.chunk_id, passage.document_id, "Volume", "volume.pdf", 1, 1, "a quote", 0.5)
    async with database.open("chat", max_size=1) as pools:
        uow: UnitOfWork[ChatTx] = UnitOfWork(pools, composer(SPACE), schema="chat")

        async def store() -> None:
            async with uow.as_caller(CALLER) as tx:
                opened = await tx.chats.open(CALLER, ChatId(uuid7()), None, "How long is the warranty?")
                turn = Turn(
                    id=TurnId(uuid7()), caller=CALLER, chat_id=opened.id, session_id=opened.session_id,
                    user_message_id=MessageId(uuid7()), message_id=MessageId(uuid7()), model="gpt-4o-mini",
                    provider="openai", hold_id=None, prompt_tokens=900, owner="1", created_at=datetime.now(UTC),
                    sources=sources,
                )  # fmt: skip
                await tx.turns.begin(turn, opened, Question("How long is the warranty?"), "o200k_base")
            async with uow.as_caller(CALLER) as tx:
                outcome = Outcome(
                    state=TurnState.COMPLETED, text="It lasts two years [1]. " * 10, frame_lengths=(24,) * 10,
                    finish_reason="stop", usage=Used(900, 100), finished_at=datetime.now(UTC), citations=(citation,),
                    text_tokens=100, tokenizer="o200k_base",
                )  # fmt: skip
                await tx.turns.finish(turn, outcome, "1")

        yield Arm(store, await processes_of(pools))


def booking(what: str) -> Prepare:
    """Usage: a hold, an event, a list of events."""

    @asynccontextmanager
    async def prepare(database: ClonedDatabase) -> AsyncIterator[Arm]:
        async with database.open("usage", max_size=1) as pools:
            uow = UnitOfWork(pools, compose_usage, schema="usage")
            quotas, ledger = QuotaService(uow, SystemClock(), Policy()), LedgerService(uow, SystemClock())
            await quotas.open_tenant(TENANT)
            wanted = HoldRequest(
                tenant_id=TENANT, subjects=(Subject(type=SubjectType.USER, id=str(CALLER.subject_id)),),
                kind=HoldKind.CHAT, provider="openai", model="gpt-4o-mini", lease=timedelta(minutes=5),
                amounts=(Amount(unit=HoldUnit.INPUT_TOKENS, amount=1),),
            )  # fmt: skip

            def usage() -> Usage:
                return Usage(
                    event_id=uuid7(), tenant_id=TENANT, kind=Kind.CHAT, provider="openai", model="gpt-4o-mini",
                    input_tokens=900, output_tokens=100, estimated=False, occurred_at=datetime.now(UTC),
                    user_id=CALLER.subject_id,
                )  # fmt: skip

            works: dict[str, Work] = {
                "hold": lambda: quotas.hold(wanted),
                "one": lambda: ledger.book([usage()]),
                "many": lambda: ledger.book([usage() for _ in range(128)]),
            }
            yield Arm(works[what], await processes_of(pools))

    return prepare


async def measure(databases: Sequence[ClonedDatabase], times: int) -> None:
    """All of it; the first database loses its triggers."""
    async with databases[0].connect() as admin:
        for (statement,) in await admin.fetch(TRIGGERS):
            await admin.execute(statement)
    print(ROW.format("µs, without and with the triggers", "waiting", "with", "", "CPU", "with", ""))
    await paired("a document is registered", databases, registering, times)
    await paired("a chat's question and answer are stored", databases, chatting, times)
    await paired("tokens are held", databases, booking("hold"), times)
    await paired("an event is booked", databases, booking("one"), times)
    await paired("128 events are booked at once", databases, booking("many"), times // 5, 2)
    await paired(f"a document of {CHUNKS:,} chunks is written", databases, reading, max(1, times // 100), 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=300)
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with local_servers() as servers:
        template = run_blocking(build_template(servers.postgres_url))
        databases = [run_blocking(clone(servers.postgres_url, template)) for _ in range(2)]
        asyncio.run(measure(databases, given.times))
    return 0


if __name__ == "__main__":
    sys.exit(main())
