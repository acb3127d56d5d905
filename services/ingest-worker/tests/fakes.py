"""Stand-ins for what is foreign to a job: the parser's process, the provider, the usage service, the network."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import numpy as np

from docuchat_common.db.transactions import Reader
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.ids import HoldId, TenantId
from docuchat_ingest.reading.formats import PageText
from docuchat_ingest.reading.process.pool import PageWindow
from docuchat_ingest.transaction import IngestUnitOfWork, Transaction
from docuchat_knowledge.documents.domain import DeletionReceipt
from docuchat_knowledge.jobs.domain import Claim, WaitingDocument
from docuchat_models.embeddings import EmbeddingBatch
from docuchat_models.spaces import EmbeddingSpace

SPACE = EmbeddingSpace("test", "words", 2)
PAGES = [f"Page {n} speaks of matter {n} at some length, and then it ends." for n in range(12)]


@dataclass
class Boundaries:
    """Where one step of a job ends and the next begins; at one of them the job can be made to hang, as if killed."""

    stop_at: int | None = None
    names: list[str] = field(default_factory=list)
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def stops_next(self) -> bool:
        return len(self.names) + 1 == self.stop_at

    async def reach(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self.stop_at:
            self.reached.set()
            await asyncio.Event().wait()


@dataclass
class Surroundings:
    """The provider, the parser and the rest; the last of a call's failures is its next one, None is none."""

    failures: dict[str, list[Exception | None]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    released: list[HoldId] = field(default_factory=list)
    buried: list[WaitingDocument] = field(default_factory=list)
    pages: list[str | PageText] = field(default_factory=lambda: list(PAGES))
    space: EmbeddingSpace = SPACE
    held: asyncio.Event | None = None
    """The provider answers when it is set."""
    provider_tokens: int = 0
    """The provider's own books."""
    pages_held: int | None = None
    boundaries: "Boundaries" = field(default_factory=Boundaries)
    figure: int | None = None
    """What the provider says that a call cost, when not the truth."""

    async def enter(self, name: str) -> None:
        await self.boundaries.reach(name)
        self.calls.append(name)
        if (waiting := self.failures.get(name)) and (error := waiting.pop()):
            raise error

    async def fetch(self, key: str, target: Path, *, max_bytes: int, sha256: str | None = None) -> None:
        await self.enter("fetch")

    async def read(self, path: Path, media_type: str) -> AsyncGenerator[PageWindow, None]:
        await self.enter("read")
        for page in self.pages:
            yield PageWindow(len(self.pages), [page if isinstance(page, PageText) else PageText(page)])

    async def embed(self, texts: Sequence[str]) -> EmbeddingBatch:
        await self.enter("embed")
        tokens = sum(len(text.split()) for text in texts)
        self.provider_tokens += tokens
        if self.held:
            await self.held.wait()
        await self.enter("answer")
        return EmbeddingBatch(np.ones((len(texts), 2), np.float32), self.figure or tokens, estimated=False)

    async def hold(self, claim: Claim, space: EmbeddingSpace, *, tokens: int, pages: int, lease: timedelta) -> HoldId:
        self.pages_held = pages
        await self.enter("hold")
        return HoldId(uuid4())

    async def renew(self, hold_id: HoldId, lease: timedelta, tokens: int | None = None) -> None:
        await self.enter("renew")

    async def release(self, hold_id: HoldId) -> None:
        self.released.append(hold_id)

    async def announce(self, document: Claim | WaitingDocument) -> None:
        self.calls.append("announce")

    async def announce_deletion(self, tenant_id: TenantId, receipt: DeletionReceipt) -> None:
        self.calls.append("announce")

    async def bury(self, document: WaitingDocument) -> None:
        self.buried.append(document)

    def finished(self, outcome: str) -> None:
        self.calls.append(f"finished {outcome}")

    def stage(self, name: str, seconds: float) -> None:
        pass

    def queue(self, depth: object) -> None:
        pass


class _Killed(Exception):
    pass


@dataclass
class Absences:
    """Transactions that find the database away so many times."""

    uow: IngestUnitOfWork
    away: int = 0
    away_after: int | None = None
    """How many transactions inside a tenant there are before the database is away."""
    boundaries: Boundaries = field(default_factory=Boundaries)
    ended: int = 0
    """How many transactions inside a tenant there were."""

    @asynccontextmanager
    async def __call__(self, tenant_id: TenantId) -> AsyncIterator[Transaction]:
        if self.away:
            self.away -= 1
            raise UpstreamUnavailable
        if self.away_after is not None:
            if not self.away_after:
                raise UpstreamUnavailable
            self.away_after -= 1
        await self.boundaries.reach("before a transaction")
        try:
            async with self.uow(tenant_id) as tx:
                yield tx
                if self.boundaries.stops_next:
                    raise _Killed  # the server rolls back what a killed process had begun
            self.boundaries.names.append("before a commit")
        except _Killed:
            await self.boundaries.reach("before a commit")
        finally:
            self.ended += 1
        await self.boundaries.reach("after a commit")

    @asynccontextmanager
    async def as_caller(self, caller: Reader) -> AsyncIterator[Transaction]:
        async with self.uow.as_caller(caller) as tx:
            yield tx

    @asynccontextmanager
    async def system(self) -> AsyncIterator[Transaction]:
        async with self.uow.system() as tx:
            yield tx


class CommitEater:
    """Stands between a client and PostgreSQL; told to, it lets a COMMIT through and swallows the answer with the
    connection.
    """

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""
        self.eat = 0
        """How many of the next answers to a COMMIT are swallowed."""
        self.eaten = 0

    @classmethod
    @asynccontextmanager
    async def before(cls, url: str) -> AsyncIterator["CommitEater"]:
        eater = cls(url)
        server = await asyncio.start_server(eater._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        credentials = eater._url.netloc.rpartition("@")[0]
        eater.url = urlunsplit(eater._url._replace(netloc=f"{credentials}@127.0.0.1:{port}", query=""))
        try:
            yield eater
        finally:
            server.close()
            for task in list(eater._tasks):
                task.cancel()
            await asyncio.gather(*eater._tasks, return_exceptions=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._url.hostname, self._url.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(OSError, asyncio.CancelledError):
            server_reader, server_writer = await self._connect()
            committing = asyncio.Event()

            async def forth() -> None:
                while data := await reader.read(65536):
                    if self.eat and data.startswith(b"Q") and b"COMMIT" in data:
                        self.eat -= 1
                        committing.set()
                    server_writer.write(data)
                    await server_writer.drain()
                server_writer.close()

            async def back() -> None:
                while data := await server_reader.read(65536):
                    if committing.is_set():
                        self.eaten += 1
                        break
                    writer.write(data)
                    await writer.drain()
                writer.close()

            await asyncio.gather(forth(), back())
        self._tasks.discard(task)
