"""The world of the use cases: real database and Redis, with a model, an embedder and holds that do as they are told."""

from __future__ import annotations

import fcntl
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
from docuchat_chat.adapters.spool import FileSpool, SpoolFolder
from docuchat_chat.answers.environment import EnvironmentModels
from docuchat_chat.answers.service import Retrieval, SearchService
from docuchat_chat.chatbots.versions import Versions
from docuchat_chat.conversations.service import ConversationService
from docuchat_chat.transaction import composer
from docuchat_chat.turns.asking import AskService
from docuchat_chat.turns.domain import Question
from docuchat_chat.turns.generation import Generator
from docuchat_chat.turns.live import Registry
from docuchat_chat.turns.policy import Demo, Policy
from docuchat_chat.turns.recovery import Recovery
from docuchat_chat.turns.replay import ReplayService
from docuchat_chat.turns.repository import LOCK_CLASS
from docuchat_chat.turns.upkeep import Upkeep
from docuchat_chat.turns.visitors import Visitors
from docuchat_common.background import Background
from docuchat_common.clock import SystemClock
from docuchat_common.db import UnitOfWork
from docuchat_common.db.presence import Presence
from docuchat_common.events.catalogue import UsageRecorded, parse_event
from docuchat_common.events.chats import ChatMessageCompleted
from docuchat_common.http.caller import Caller
from docuchat_common.ids import TenantId, uuid7
from docuchat_common.metering import Metering
from docuchat_common.rate_limits import RateLimiter, parse_rates

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
    """One process on a database, a board and a spool folder; `other_process` makes another on the same."""

    def __init__(self, database: Any, opened: Any, redis_url: str, spool_dir: Path, stack: AsyncExitStack) -> None:
        self.database = database
        self._opened = opened
        self._redis_url = redis_url
        self.spool_dir = spool_dir
        self._stack = stack
        self.model = fakes.ScriptedModel()
        self.models: Any = EnvironmentModels(self.model, "openai", (MODEL, "gpt-4o"))
        self.holds = fakes.FakeHolds()
        of_both = self.holds.open_holds, self.holds.released, self.holds.settled
        self.second_holds = fakes.FakeHolds(open_holds=of_both[0], released=of_both[1], settled=of_both[2])
        self.embedder = fakes.FakeEmbedder()
        self.ledger = fakes.FakeLedger()
        self.counters = Counters()
        self.caller = self.new_caller()
        self.demo, self.questions = Demo(), "60/m"
        self.policy = Policy(default_model=MODEL, drain=timedelta())

    async def start(self) -> World:
        clients = []
        for _ in range(2):
            clients.append(redis.Redis.from_url(self._redis_url, protocol=2))
            self._stack.push_async_callback(clients[-1].aclose)
        self.board = RedisTurnBoard(
            *clients,
            copy_every=timedelta(milliseconds=5),
            silence=timedelta(milliseconds=20),
            life=timedelta(minutes=1),
        )
        self.limiter = await self._stack.enter_async_context(
            RateLimiter.open(clients[0], name="chat", fail_open=True, patience=timedelta(seconds=5))
        )
        self.life = AsyncExitStack()
        presence = await self.life.enter_async_context(Presence.open(self.database.url("chat"), LOCK_CLASS))
        self.owner = str(presence.process_id)
        self.spool = FileSpool(self.spool_dir, self.owner)
        self._stack.push_async_callback(self.die)
        self.transactions = fakes.LossyTransactions(
            UnitOfWork(self._opened, composer(running.STUB_SPACE), schema="chat")
        )
        self.metering = Metering(self.transactions)
        self.registry = Registry()
        self.wire()
        background = await self._stack.enter_async_context(Background())
        background.start("board", self.board.run)
        background.start("stops", lambda: self.board.listen_for_stops(self.registry.stop))
        self._stack.push_async_callback(self.drain)
        return self

    def wire(self) -> None:
        common: dict[str, Any] = {
            "transactions": self.transactions,
            "counter_for": self.counters,
            "registry": self.registry,
            "owner": self.owner,
            "clock": SystemClock(),
        }
        self.generator = Generator(
            holds=self.holds,
            board=self.board,
            spool=self.spool,
            policy=self.policy,
            second_holds=self.second_holds,
            **common,
        )
        self.retrieval = Retrieval(self.transactions, self.embedder, self.metering, self.owner)
        self.asking = AskService(
            models=self.models,
            holds=self.holds,
            retrieval=self.retrieval,
            generator=self.generator,
            policy=self.policy,
            chatbots=Versions(self.transactions),
            visitors=Visitors(self.limiter, self.demo, parse_rates(self.questions), b"key"),
            **common,
        )
        self.search = SearchService(self.retrieval, self.holds, self.embedder)
        self.replay = ReplayService(self.transactions, self.board, self.registry)
        self.conversations = ConversationService(self.transactions, self.replay, self.limiter, max_message_chars=16_000)
        spools = SpoolFolder(self.spool_dir, least_age=timedelta())
        self.recovery = Recovery(board=self.board, spool=self.spool, spools=spools, holds=self.holds, **common)
        self.upkeep = Upkeep(self.transactions, self.metering, self.ledger, self.board, self.policy)

    async def die(self) -> None:
        """Show no sign of life any more, as when the process is killed."""
        if self.spool is not None:
            fcntl.flock(self.spool._lock, fcntl.LOCK_UN)
            await self.life.aclose()
        self.spool = None

    async def drain(self) -> None:
        await self.generator.drain()

    def with_policy(self, **changes: Any) -> None:
        self.policy = replace(self.policy, **changes)
        self.wire()

    async def other_process(self) -> World:
        """Another process on the same store and board."""
        other = World(self.database, self._opened, self._redis_url, self.spool_dir, self._stack)
        other.model, other.models, other.embedder = self.model, self.models, self.embedder
        other.holds, other.second_holds = self.holds, self.second_holds
        other.caller, other.policy, other.ledger = self.caller, self.policy, self.ledger
        return await other.start()

    async def ask(self, message: str = "How long is the warranty?", **fields: Any) -> list[dict[str, Any]]:
        """Ask and return all events."""
        key = fields.pop("key", None)
        answering = await self.asking.ask(self.caller, Question(message, **fields), key=key, attach=True)
        return await self.collect(answering.events(-1))

    @staticmethod
    async def collect(frames: AsyncIterator[bytes]) -> list[dict[str, Any]]:
        return parse(b"".join([frame async for frame in frames]))

    @staticmethod
    def new_caller(tenant: int = 1) -> Caller:
        return Caller(TenantId(tenant), "user", uuid7(), "member")

    async def rows(self, sql: str, *values: Any) -> list[Any]:
        """Look behind the product's back."""
        async with self.database.connect() as admin:
            found: list[Any] = await admin.fetch(sql, *values)
            return found

    async def explain(self, queries: Any, name: str, **parameters: Any) -> str:
        """Return the plan of a named query that is run with these parameters."""
        order = queries.driver_adapter.var_sorted[name]
        plan = await self.rows("EXPLAIN ANALYZE " + getattr(queries, name).sql, *(parameters[each] for each in order))
        return "\n".join(row[0] for row in plan)

    async def count_statements(self, work: Callable[[], Any]) -> list[str]:
        """Return the statements of the tenant's connections while `work` runs."""
        statements: list[str] = []

        def log(record: Any) -> None:
            statements.append(record.query.strip())

        async with AsyncExitStack() as stack:
            held = [await stack.enter_async_context(self._opened.connection()) for _ in range(10)]
            for connection in held:
                connection.add_query_logger(log)
        await work()
        return statements

    async def turn(self, turn_id: Any) -> Any:
        async with self.transactions(self.caller.tenant_id) as tx:
            return await tx.turns.find(self.caller.tenant_id, turn_id, None)

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
async def bare_world(database: Any, redis_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A process of a tenant that has no documents."""
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(database.open("chat"))
        yield await World(database, opened, redis_url, tmp_path, stack).start()


@pytest_asyncio.fixture
async def world(bare_world: World) -> World:
    """A process of a tenant with one document of two pages."""
    await running.seed_document(bare_world.database, 1, PAGES, title="Handbook")
    return bare_world


@pytest.fixture
def seed(database: Any) -> Callable[..., Any]:
    """Store a document of tenant 1 as gateway and worker would have."""
    return lambda texts, **fields: running.seed_document(database, 1, texts, **fields)


@pytest.fixture
def stage_settings(stub_provider: Any) -> dict[str, str]:
    """What the processes of a stage are told beside where the others are; a file's own fixture says otherwise."""
    return {"OPENAI_API_KEY": "sk-stub", "OPENAI_BASE_URL": stub_provider.base_url}


@pytest_asyncio.fixture
async def stage(
    service_environment: Any,
    database: Any,
    stub_provider: Any,
    token_mint: Any,
    tmp_path: Path,
    stage_settings: dict[str, str],
) -> AsyncIterator[Any]:
    """The service as processes on real servers; `start` starts one."""
    async with AsyncExitStack() as stack:
        holds = await stack.enter_async_context(running.HoldServer.serving())
        surroundings = {"USAGE_URL": holds.url, "SPOOL_DIR": str(tmp_path / "spool")}
        environment = {**service_environment("chat"), **surroundings, **stage_settings}
        yield running.Stage(environment, database, stub_provider, token_mint, holds, stack)
