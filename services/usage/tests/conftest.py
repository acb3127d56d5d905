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

from docuchat_common.contracts.holds import Amount, HoldKind, HoldRequest, HoldUnit, Subject, SubjectType
from docuchat_common.db import UnitOfWork
from docuchat_common.events.catalogue import parse_event
from docuchat_common.events.envelope import Event
from docuchat_common.http.caller import Caller
from docuchat_common.ids import TenantId, uuid7
from docuchat_testkit.databases import ClonedDatabase
from docuchat_usage.documents.service import DocumentService
from docuchat_usage.ledger.domain import Booking, Kind, Report, Usage
from docuchat_usage.ledger.service import LedgerService
from docuchat_usage.prices.service import PriceService
from docuchat_usage.quotas.domain import Hold, Unit
from docuchat_usage.quotas.domain import Subject as BudgetSubject
from docuchat_usage.quotas.errors import TenantUnknown
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
    documents: DocumentService
    ledger: LedgerService
    clock: ManualClock
    published: Callable[[], Awaitable[list[Event]]]
    tenant: int = field(default_factory=lambda: next(_tenants))
    user: UUID = field(default_factory=uuid7)

    def request(self, tokens: int = 1000, **changes: Any) -> HoldRequest:
        """A wish for so many tokens, a fifth of them for the answer."""
        given: dict[str, Any] = {
            "kind": HoldKind.CHAT, "provider": "openai", "model": "gpt-4o-mini", "lease": timedelta(seconds=60),
            "tenant_id": self.tenant, "subjects": {SubjectType.USER: self.user},
            "amounts": {HoldUnit.INPUT_TOKENS: tokens - tokens // 5, HoldUnit.OUTPUT_TOKENS: tokens // 5}, **changes,
        }  # fmt: skip
        given["subjects"] = tuple(Subject(type=kind, id=str(value)) for kind, value in given["subjects"].items())
        given["amounts"] = tuple(Amount(unit=unit, amount=amount) for unit, amount in given["amounts"].items())
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

    async def spend(self, tokens: int = 1000, **changes: Any) -> Booking | None:
        """Book a call; None when it was booked before."""
        return await self.book(self.usage(tokens, **changes))

    async def book(self, usage: Usage) -> Booking | None:
        """Book one event; None when it was booked before."""
        return next(iter(await self.ledger.book([usage])), None)

    async def set_tokens(self, limit: int, user: UUID | None = None) -> None:
        """Limit the tokens of the tenant, or of a user."""
        await self.quotas.open_tenant(self.tenant)
        await self.quotas.set_quota(self.tenant, user, {Unit.TOKENS: limit})

    async def report(self, user: UUID | None = None) -> Report:
        """What a user of the tenant sees."""
        return await self.ledger.report(Caller(TenantId(self.tenant), "user", user or self.user, role="owner"))

    async def counted(self) -> tuple[int, int]:
        """Used and held tokens of the tenant."""
        try:
            tokens = (await self.quotas.get_quota(self.tenant, None))[BudgetSubject.TENANT][Unit.TOKENS]
        except TenantUnknown:
            return 0, 0
        return int(tokens.used), int(tokens.held)


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
        yield World(
            PriceService(uow), QuotaService(uow, clock, Policy()), DocumentService(uow, clock),
            LedgerService(uow, clock), clock, published,
        )  # fmt: skip


@pytest_asyncio.fixture
async def world(database: ClonedDatabase) -> AsyncIterator[World]:
    """The use cases on a database of the test's own."""
    async with open_world_on(database) as opened:
        yield opened


@pytest.fixture
def open_world(database: ClonedDatabase) -> Callable[..., AbstractAsyncContextManager[World]]:
    """Opens worlds, each with a tenant of its own, on one real database."""
    return partial(open_world_on, database)
