"""The world of a unit test: the use cases on in-memory twins, with a model that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
import pytest_asyncio
from pytest_socket import disable_socket, enable_socket

from docuchat_chat.adapters.knowledge import Counters
from docuchat_chat.adapters.memory import InMemoryBoard, InMemoryHolds
from docuchat_chat.adapters.memory_store import InMemorySearch, InMemoryTransactions
from docuchat_chat.domain.model import Asker, Passage
from docuchat_chat.ports import AnswerRequest, QuestionVector
from docuchat_chat.service.asking import AskRequest, AskService
from docuchat_chat.service.conversations import ConversationService
from docuchat_chat.service.generation import Generator
from docuchat_chat.service.live import Registry
from docuchat_chat.service.policy import Policy
from docuchat_chat.service.recovery import Recovery
from docuchat_chat.service.replay import ReplayService
from docuchat_common.events.catalogue import UsageRecorded
from docuchat_common.ids import ChunkId, DocumentId, TenantId, UserId, uuid7
from docuchat_models.chat import Piece, TokenUsage

MODEL = "gpt-4o-mini"


@dataclass
class ScriptedModel:
    """Yields pieces, waits at gates, raises errors: one script a call, the last one again and again."""

    scripts: list[list[Any]] = field(default_factory=lambda: [["Two years [1].", "stop"]])
    usage: TokenUsage | None = None
    requests: list[AnswerRequest] = field(default_factory=list)
    closed: int = 0
    provider: str = "openai"

    async def answer(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        script = self.scripts[min(len(self.requests), len(self.scripts) - 1)]
        self.requests.append(request)
        try:
            for step in script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Piece):
                    yield step
                elif step in ("stop", "length"):
                    yield Piece(finish_reason=step, usage=self.usage)
                elif step == "accept":
                    yield Piece()
                else:
                    if step is script[0]:
                        yield Piece()
                    yield Piece(step)
        finally:
            self.closed += 1


@dataclass
class FakeEmbedder:
    """Embeds for five tokens a question."""

    billable: bool = True
    failure: Exception | None = None

    async def embed(self, question: str) -> QuestionVector:
        if self.failure is not None:
            raise self.failure
        return QuestionVector([1.0], "openai", "text-embedding-3-small", 5, estimated=False, billable=self.billable)


def passage(text: str, *, title: str = "Handbook", page: int = 3) -> Passage:
    return Passage(ChunkId(uuid7()), DocumentId(uuid7()), title, f"{title.lower()}.pdf", page, page, text, 0.5, 1, 1)


def new_asker(tenant: int = 1) -> Asker:
    return Asker(TenantId(tenant), UserId(uuid7()))


@dataclass
class World:
    """One or more processes on one store and one board."""

    model: ScriptedModel = field(default_factory=ScriptedModel)
    holds: InMemoryHolds = field(default_factory=InMemoryHolds)
    embedder: FakeEmbedder = field(default_factory=FakeEmbedder)
    board: InMemoryBoard = field(default_factory=InMemoryBoard)
    search: InMemorySearch = field(default_factory=InMemorySearch)
    counters: Counters = field(default_factory=Counters)
    asker: Asker = field(default_factory=new_asker)
    policy: Policy = field(
        default_factory=lambda: Policy(
            allowed_models=(MODEL, "gpt-4o"), default_model=MODEL, drain=timedelta(), linger=timedelta(seconds=30)
        )
    )
    owner: str = "process-1"

    def __post_init__(self) -> None:
        self.search.found = self.search.found or [
            passage("The warranty lasts two years. It covers the motor only."),
            passage("Return parcels are free of charge.", page=9),
        ]
        self.transactions = InMemoryTransactions(self.search)
        self.wire()

    def wire(self) -> None:
        self.registry = Registry({})
        common: dict[str, Any] = {
            "transactions": self.transactions,
            "counter_for": self.counters,
            "registry": self.registry,
            "policy": self.policy,
            "owner": self.owner,
        }
        self.generator = Generator(model=self.model, holds=self.holds, board=self.board, **common)
        self.asking = AskService(holds=self.holds, embedder=self.embedder, generator=self.generator, **common)
        self.replay = ReplayService(self.transactions, self.board, self.registry)
        self.conversations = ConversationService(self.transactions, self.board, self.registry, self.embedder)
        self.recovery = Recovery(board=self.board, **common)
        self.board.on_stop(self.registry.stop)

    def with_policy(self, **changes: Any) -> None:
        self.policy = replace(self.policy, **changes)
        self.wire()

    def other_process(self) -> World:
        """Another process on the same store and board."""
        other = World(
            model=self.model,
            holds=self.holds,
            embedder=self.embedder,
            board=self.board,
            search=self.search,
            counters=self.counters,
            asker=self.asker,
            policy=self.policy,
            owner="process-2",
        )
        other.transactions = self.transactions
        other.wire()
        return other

    async def ask(self, message: str = "How long is the warranty?", **fields: Any) -> list[dict[str, Any]]:
        """Ask and return all events."""
        key = fields.pop("key", None)
        answering = await self.asking.ask(self.asker, AskRequest(message, **fields), key=key, attach=True)
        return await collect(answering.events(-1))

    @staticmethod
    async def collect(frames: AsyncIterator[bytes]) -> list[dict[str, Any]]:
        return await collect(frames)

    @staticmethod
    def new_asker() -> Asker:
        return new_asker()

    def usage(self) -> list[UsageRecorded]:
        return [event for event in self.transactions.tables.events if isinstance(event, UsageRecorded)]

    def chat_usage(self) -> list[UsageRecorded]:
        return [event for event in self.usage() if event.kind == "chat"]


def parse(frames: bytes) -> list[dict[str, Any]]:
    """The data objects of server-sent events."""
    events = []
    for block in frames.split(b"\n\n"):
        data = [line[6:] for line in block.split(b"\n") if line.startswith(b"data: ")]
        if data:
            events.append(orjson.loads(data[0]))
    return events


async def collect(frames: AsyncIterator[bytes]) -> list[dict[str, Any]]:
    return parse(b"".join([frame async for frame in frames]))


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["token"] for event in events if event["type"] == "delta")


@pytest.fixture
def no_sockets() -> Iterator[None]:
    """Unit tests reach nothing; the event loop itself needs its Unix socket pair."""
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    built = World()
    yield built
    await built.generator.drain()


@pytest.fixture
def make_world() -> Callable[..., Any]:
    @asynccontextmanager
    async def make(**fields: Any) -> AsyncIterator[World]:
        built = World(**fields)
        yield built
        await built.generator.drain()

    return make
