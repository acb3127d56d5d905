"""The world of the use cases: real database and Redis, with a model, an embedder and holds that do as they are told."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
import pytest_asyncio
import redis.asyncio as redis

from docuchat_chat.adapters.knowledge import Counters
from docuchat_chat.adapters.redis_board import RedisTurnBoard
from docuchat_chat.answers.domain import Asker
from docuchat_chat.conversations.service import ConversationService
from docuchat_chat.transaction import composer
from docuchat_chat.turns.generation import Generator
from docuchat_chat.turns.live import Registry
from docuchat_chat.turns.policy import Policy
from docuchat_chat.turns.preparation import AskRequest, AskService
from docuchat_chat.turns.recovery import Recovery
from docuchat_chat.turns.replay import ReplayService
from docuchat_common.db import UnitOfWork
from docuchat_common.events.catalogue import ChatMessageCompleted, UsageRecorded, parse_event
from docuchat_common.ids import TenantId, UserId, uuid7

MODEL = "gpt-4o-mini"
PAGES = ["The warranty lasts two years. It covers the motor only.", "Return parcels are free of charge."]


def load(name: str) -> ModuleType:
    """A module beside the tests."""
    qualified = f"chat_{name}"
    if qualified not in sys.modules:
        spec = importlib.util.spec_from_file_location(qualified, Path(__file__).parent / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = sys.modules[qualified] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[qualified]


fakes = load("fakes")
running = load("running")


class World:
    """One process on a database and a board; `other_process` makes another on the same."""

    def __init__(self, database: Any, opened: Any, redis_url: str, stack: AsyncExitStack, owner: str) -> None:
        self.database = database
        self._opened = opened
        self._redis_url = redis_url
        self._stack = stack
        self.owner = owner
        self.model = fakes.ScriptedModel()
        self.holds = fakes.FakeHolds()
        self.embedder = fakes.FakeEmbedder()
        self.counters = Counters()
        self.asker = self.new_asker()
        self.policy = Policy(allowed_models=(MODEL, "gpt-4o"), default_model=MODEL, drain=timedelta())

    async def start(self) -> World:
        client = redis.Redis.from_url(self._redis_url, protocol=2)
        self._stack.push_async_callback(client.aclose)
        self.board = RedisTurnBoard(
            client, copy_every=timedelta(milliseconds=5), silence=timedelta(milliseconds=20), life=timedelta(minutes=1)
        )
        self.transactions = UnitOfWork(self._opened, composer(running.STUB_SPACE), schema="chat")
        self.registry = Registry({})
        self.wire()
        for work in (self.board.run(), self.board.listen_for_stops(self.registry.stop)):
            task = asyncio.create_task(work)
            self._stack.callback(task.cancel)
        self._stack.push_async_callback(self.drain)
        return self

    def wire(self) -> None:
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
        self.conversations = ConversationService(self.transactions, self.replay, max_message_chars=16_000)
        self.recovery = Recovery(board=self.board, **common)

    async def drain(self) -> None:
        await self.generator.drain()

    def with_policy(self, **changes: Any) -> None:
        self.policy = replace(self.policy, **changes)
        self.wire()

    async def other_process(self) -> World:
        """Another process on the same store and board."""
        other = World(self.database, self._opened, self._redis_url, self._stack, f"process-{uuid7()}")
        other.model, other.holds, other.embedder = self.model, self.holds, self.embedder
        other.asker, other.policy = self.asker, self.policy
        return await other.start()

    async def ask(self, message: str = "How long is the warranty?", **fields: Any) -> list[dict[str, Any]]:
        """Ask and return all events."""
        key = fields.pop("key", None)
        answering = await self.asking.ask(self.asker, AskRequest(message, **fields), key=key, attach=True)
        return await self.collect(answering.events(-1))

    @staticmethod
    async def collect(frames: AsyncIterator[bytes]) -> list[dict[str, Any]]:
        return parse(b"".join([frame async for frame in frames]))

    @staticmethod
    def new_asker(tenant: int = 1) -> Asker:
        return Asker(TenantId(tenant), UserId(uuid7()))

    async def rows(self, sql: str, *values: Any) -> list[Any]:
        """Look behind the product's back."""
        async with self.database.connect() as admin:
            found: list[Any] = await admin.fetch(sql, *values)
            return found

    async def turn(self, turn_id: Any) -> Any:
        async with self.transactions(self.asker.tenant_id) as tx:
            return await tx.turns.find(self.asker.tenant_id, turn_id, None)

    async def events(self) -> list[Any]:
        return [parse_event(row["body"]) for row in await self.rows("SELECT body FROM chat.outbox ORDER BY id")]

    async def usage(self) -> list[UsageRecorded]:
        return [event for event in await self.events() if isinstance(event, UsageRecorded)]

    async def chat_usage(self) -> list[UsageRecorded]:
        return [event for event in await self.usage() if event.kind == "chat"]

    async def completed(self) -> list[ChatMessageCompleted]:
        return [event for event in await self.events() if isinstance(event, ChatMessageCompleted)]


def parse(frames: bytes) -> list[dict[str, Any]]:
    """The data objects of server-sent events."""
    return [
        orjson.loads(line[6:])
        for block in frames.split(b"\n\n")
        for line in block.split(b"\n")
        if line.startswith(b"data: ")
    ]


@pytest_asyncio.fixture
async def bare_world(database: Any, redis_url: str) -> AsyncIterator[World]:
    """A process of a tenant that has no documents."""
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(database.open("chat"))
        yield await World(database, opened, redis_url, stack, "process-1").start()


@pytest_asyncio.fixture
async def world(bare_world: World) -> World:
    """A process of a tenant with one document of two pages."""
    await running.seed_document(bare_world.database, 1, PAGES, title="Handbook")
    return bare_world


@pytest.fixture
def seed(database: Any) -> Callable[..., Any]:
    """Store a document of tenant 1 as gateway and worker would have."""
    return lambda texts, **fields: running.seed_document(database, 1, texts, **fields)
