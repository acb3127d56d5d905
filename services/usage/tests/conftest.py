"""The world of a test: the use cases on a clone of the real database, with a clock moved by hand."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
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
from docuchat_usage.ledger.domain import Usage
from docuchat_usage.ledger.service import LedgerService
from docuchat_usage.prices.service import PriceService
from docuchat_usage.quotas.domain import Hold, HoldRequest, Kind
from docuchat_usage.quotas.service import Policy, QuotaService
from docuchat_usage.transaction import compose

_tenants = itertools.count(1000)


@dataclass
class ManualClock:
    """A clock that a test sets."""

    moment: datetime = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        """The moment that the test chose."""
        return self.moment

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        self.moment += by


@dataclass
class World:
    """The use cases and what is around them."""

    prices: PriceService
    quotas: QuotaService
    ledger: LedgerService
    clock: ManualClock
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
        return await self.quotas.hold(self.request(tokens, **changes))

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
        await self.ledger.book(self.usage(tokens, **changes))

    async def counted(self) -> tuple[int, int]:
        """Used and held tokens of the tenant."""
        budget = (await self.ledger.report(self.tenant, self.user)).budget
        assert budget is not None
        return int(budget.tokens.used), int(budget.tokens.held)


@asynccontextmanager
async def open_world_on(database: ClonedDatabase, *, max_size: int = 10) -> AsyncIterator[World]:
    """The use cases on a real database."""
    clock = ManualClock()

    async def published() -> list[Event]:
        async with database.connect() as connection:
            rows = await connection.fetch("SELECT body FROM usage.outbox ORDER BY id")
        return [parse_event(row["body"]) for row in rows]

    async with database.open("usage", max_size=max_size) as pools:
        uow = UnitOfWork(pools, compose, schema="usage")
        yield World(PriceService(uow), QuotaService(uow, clock, Policy()), LedgerService(uow, clock), clock, published)


@pytest_asyncio.fixture
async def world(database: ClonedDatabase) -> AsyncIterator[World]:
    """The use cases on a database of the test's own."""
    async with open_world_on(database) as opened:
        yield opened


@pytest.fixture
def open_world(database: ClonedDatabase) -> Callable[..., AbstractAsyncContextManager[World]]:
    """Opens worlds, each with a tenant of its own, on one real database."""
    return partial(open_world_on, database)
