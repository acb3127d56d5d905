"""The world of a test: the use cases on the in-memory twin or on a real database, with a clock moved by hand."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from docuchat_common.db import UnitOfWork
from docuchat_common.events.catalogue import parse_event
from docuchat_common.events.envelope import Event
from docuchat_common.ids import uuid7
from docuchat_testkit.databases import ClonedDatabase
from docuchat_usage.domain import Hold, HoldRequest, Kind, Price, Usage
from docuchat_usage.memory import CountingMeter, InMemoryUnitOfWork, ManualClock, Store
from docuchat_usage.repository import compose
from docuchat_usage.service import Policy, UsageService

_tenants = itertools.count(1000)
SEEDED = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass
class World:
    """The use cases and what is around them."""

    service: UsageService
    clock: ManualClock
    meter: CountingMeter
    published: Callable[[], Awaitable[list[Event]]]
    tenant: int = field(default_factory=lambda: next(_tenants))
    user: UUID = field(default_factory=uuid7)

    def request(self, tokens: int = 1000, **changes: Any) -> HoldRequest:
        """A wish for so many tokens, a fifth of them for the answer."""
        given: dict[str, Any] = {
            "tenant_id": self.tenant,
            "kind": Kind.CHAT,
            "model": "gpt-4o-mini",
            "input_tokens": tokens - tokens // 5,
            "max_output_tokens": tokens // 5,
            "lease": timedelta(seconds=60),
            "user_id": self.user,
            **changes,
        }
        return HoldRequest(**given)

    async def hold(self, tokens: int = 1000, **changes: Any) -> Hold:
        """A granted hold."""
        return await self.service.hold(self.request(tokens, **changes))

    def usage(self, tokens: int = 1000, **changes: Any) -> Usage:
        """A call that used so many tokens."""
        given: dict[str, Any] = {
            "event_id": uuid7(),
            "tenant_id": self.tenant,
            "kind": Kind.CHAT,
            "provider": "openai",
            "model": "gpt-4o-mini",
            "input_tokens": tokens - tokens // 5,
            "output_tokens": tokens // 5,
            "estimated": False,
            "occurred_at": self.clock.now(),
            "user_id": self.user,
            **changes,
        }
        return Usage(**given)

    async def spend(self, tokens: int = 1000, **changes: Any) -> None:
        """Book a call."""
        await self.service.book(self.usage(tokens, **changes))

    async def counted(self) -> tuple[int, int]:
        """Used and held tokens of the tenant."""
        budget = (await self.service.report(self.tenant, self.user)).budget
        assert budget is not None
        return int(budget.tokens.used), int(budget.tokens.held)


def seeded_prices() -> list[Price]:
    """The prices that the tests need of those that the migration brings."""
    rows = [
        ("*", "*", "1", "3", "0.1"),
        ("*", "gpt-4o-mini*", "0.15", "0.60", "0.15"),
        ("*", "gpt-4o*", "2.5", "10", "2.5"),
        ("*", "text-embedding-3-small", "0.02", "0", "0.02"),
        ("*", "wordllama*", "0", "0", "0"),
        ("*", "extractive*", "0", "0", "0"),
    ]
    return [
        Price(number, provider, model, Decimal(a), Decimal(b), Decimal(c), SEEDED)
        for number, (provider, model, a, b, c) in enumerate(rows, start=1)
    ]


def memory_world() -> World:
    """The use cases on the in-memory twin."""
    store, clock, meter = Store(prices=seeded_prices()), ManualClock(), CountingMeter()

    async def published() -> list[Event]:
        return store.events

    service = UsageService(InMemoryUnitOfWork(store), clock, meter, Policy())
    return World(service, clock, meter, published)


@asynccontextmanager
async def postgres_world(database: ClonedDatabase, *, max_size: int = 10) -> AsyncIterator[World]:
    """The use cases on a real database."""
    clock, meter = ManualClock(), CountingMeter()

    async def published() -> list[Event]:
        async with database.connect() as connection:
            rows = await connection.fetch("SELECT body FROM usage.outbox ORDER BY id")
        return [parse_event(row["body"]) for row in rows]

    async with database.open("usage", max_size=max_size) as pools:
        service = UsageService(UnitOfWork(pools, compose, schema="usage"), clock, meter, Policy())
        yield World(service, clock, meter, published)


@pytest.fixture
def memory() -> World:
    """The use cases on the in-memory twin."""
    return memory_world()


@pytest_asyncio.fixture
async def postgres(database: ClonedDatabase) -> AsyncIterator[World]:
    """The use cases on a real database."""
    async with postgres_world(database) as world:
        yield world


@pytest_asyncio.fixture(params=["memory", "postgres"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Both, one after the other: what holds for the twin holds for the database."""
    if request.param == "memory":
        yield memory_world()
        return
    async with postgres_world(request.getfixturevalue("database")) as on_postgres:
        yield on_postgres


@pytest.fixture
def open_memory_world() -> Callable[[], AbstractAsyncContextManager[World]]:
    """Opens worlds on the in-memory twin, for tests that run their own event loop."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[World]:
        yield memory_world()

    return opened


@pytest.fixture
def open_postgres_world(database: ClonedDatabase) -> Callable[..., AbstractAsyncContextManager[World]]:
    """Opens worlds, each with a tenant of its own, on one real database."""
    return partial(postgres_world, database)
