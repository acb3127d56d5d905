"""In-memory twin of the database, for unit tests; the contract tests run against it and against Postgres."""

from __future__ import annotations

import asyncio
import copy
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from docuchat_usage.domain import (
    Booking,
    Budget,
    Counter,
    Crossing,
    Hold,
    HoldRequest,
    HoldState,
    Kind,
    Period,
    Price,
    Refusal,
    Report,
    Subject,
    Totals,
    Unit,
    Usage,
    Windows,
    choose_price,
    highest_threshold,
)
from docuchat_usage.errors import HoldNotFound, PriceExists, PriceInvalid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager
    from uuid import UUID

    from docuchat_common.events.envelope import Event

_LAYERS = list(Subject)
BudgetKey = tuple[int, Subject, str]


@dataclass(slots=True)
class _Budget:
    """Counters of one subject, by unit."""

    period: Period
    limit: dict[Unit, Decimal | None]
    used: dict[Unit, Decimal] = field(default_factory=lambda: dict.fromkeys(Unit, Decimal(0)))
    held: dict[Unit, Decimal] = field(default_factory=lambda: dict.fromkeys(Unit, Decimal(0)))
    notified: dict[Unit, int] = field(default_factory=lambda: dict.fromkeys(Unit, 0))
    announced_at: datetime | None = None

    def roll(self, now: datetime) -> None:
        if self.period.ends_at <= now:
            self.period = Period.month_of(now)
            self.used = dict.fromkeys(Unit, Decimal(0))
            self.notified = dict.fromkeys(Unit, 0)


@dataclass(slots=True)
class _Hold:
    """An open or closed hold, and the budgets that count it while it is open."""

    tenant_id: int
    kind: Kind
    input_tokens: int
    amounts: dict[Unit, Decimal]
    price: Price | None
    budgets: tuple[BudgetKey, ...]
    expires_at: datetime
    state: HoldState = HoldState.HELD
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A ledger entry."""

    usage: Usage
    cost: Decimal
    price_id: int | None


@dataclass(slots=True)
class Store:
    """Everything that a database would keep."""

    prices: list[Price] = field(default_factory=list)
    plan: dict[Unit, Decimal | None] = field(
        default_factory=lambda: {Unit.TOKENS: Decimal(50_000_000), Unit.COST: Decimal(250)}
    )
    user_plan: dict[Unit, Decimal | None] = field(default_factory=lambda: dict.fromkeys(Unit))
    budgets: dict[BudgetKey, _Budget] = field(default_factory=dict)
    holds: dict[UUID, _Hold] = field(default_factory=dict)
    ledger: list[Entry] = field(default_factory=list)
    seen: set[tuple[str, UUID]] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)


class InMemoryAccounts:
    """Budgets, holds and the ledger."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def hold(
        self, hold_id: UUID, request: HoldRequest, now: datetime, announce_every: timedelta
    ) -> Hold | Refusal | None:
        """Set aside in every layer, or in none."""
        layers = self._layers(request.tenant_id, request.subjects)
        if not self._is_ready(layers, request.user_id):
            return None
        await self.expire(now, len(self._store.holds))
        price = choose_price(self._store.prices, request.provider, request.model, now)
        wanted = {
            Unit.TOKENS: Decimal(request.tokens),
            Unit.COST: price.cost(request.kind, request.input_tokens, request.max_output_tokens)
            if price
            else Decimal(0),
        }
        for budget in layers.values():
            budget.roll(now)
        for (_, subject, subject_id), budget in layers.items():
            for unit in Unit:
                limit = budget.limit[unit]
                if limit is None or budget.used[unit] + budget.held[unit] + wanted[unit] <= limit:
                    continue
                oldest = max(now - announce_every, budget.period.starts_at)
                announce = budget.announced_at is None or budget.announced_at < oldest
                if announce:
                    budget.announced_at = now
                return Refusal(
                    subject, subject_id, unit, wanted[unit], limit, budget.used[unit], budget.held[unit],
                    budget.period.ends_at, announce,
                )  # fmt: skip
        for budget in layers.values():
            for unit in Unit:
                budget.held[unit] += wanted[unit]
        expires_at = now + request.lease
        self._store.holds[hold_id] = _Hold(
            request.tenant_id, request.kind, request.input_tokens, wanted, price, tuple(layers), expires_at
        )
        return Hold(hold_id, request.tokens, expires_at)

    async def book(self, usage: Usage, now: datetime) -> Booking | None:
        """Write the entry, charge every layer, close the hold."""
        hold = self._store.holds.get(usage.hold_id) if usage.hold_id else None
        if hold is not None and hold.tenant_id != usage.tenant_id:
            hold = None
        layers = self._layers(usage.tenant_id, usage.subjects)
        if not self._is_ready(layers, usage.user_id):
            return None
        if hold is not None:
            layers |= {key: self._store.budgets[key] for key in hold.budgets}
        price = choose_price(self._store.prices, usage.provider, usage.model, usage.occurred_at)
        fallback = price is None or price.is_fallback
        state = hold.state if hold else None
        if any(entry.usage.event_id == usage.event_id for entry in self._store.ledger):
            return Booking(False, Decimal(0), fallback, state)
        cost = price.cost(usage.kind, usage.input_tokens, usage.output_tokens) if price else Decimal(0)
        self._store.ledger.append(Entry(usage, cost, price.id if price else None))
        if hold is not None and hold.state is not HoldState.SETTLED:
            if hold.state is HoldState.HELD:
                self._give_back(hold, hold.amounts)
            hold.state, hold.closed_at = HoldState.SETTLED, now
        crossings = []
        for (_, subject, subject_id), budget in layers.items():
            budget.roll(now)
            for unit, spent in ((Unit.TOKENS, Decimal(usage.tokens)), (Unit.COST, cost)):
                if usage.occurred_at >= budget.period.starts_at:
                    budget.used[unit] += spent
                limit, before = budget.limit[unit], budget.notified[unit]
                budget.notified[unit] = after = max(before, highest_threshold(budget.used[unit], limit))
                if limit is not None and after > before:
                    crossings.append(
                        Crossing(
                            subject, subject_id, unit, budget.period.starts_at, budget.used[unit], limit, before, after
                        )
                    )
        return Booking(True, cost, fallback, state, tuple(crossings))

    async def ensure(self, tenant_id: int, user_id: UUID | None, now: datetime) -> None:
        """Create the tenant's budget, and the user's when the plan has one."""
        self._open(tenant_id, Subject.TENANT, str(tenant_id), self._store.plan, now)
        if user_id is not None and any(limit is not None for limit in self._store.user_plan.values()):
            self._open(tenant_id, Subject.USER, str(user_id), self._store.user_plan, now)

    async def renew(self, hold_id: UUID, lease: timedelta, tokens: int | None, now: datetime) -> Hold:
        """Prolong and shrink."""
        hold = self._store.holds.get(hold_id)
        if hold is None or hold.state is not HoldState.HELD:
            raise HoldNotFound
        all_tokens = int(hold.amounts[Unit.TOKENS])
        kept = all_tokens if tokens is None else min(all_tokens, tokens)
        cost = hold.amounts[Unit.COST]
        if hold.price is not None:
            prompt = kept if hold.kind is Kind.EMBEDDING else min(kept, hold.input_tokens)
            cost = min(cost, hold.price.cost(hold.kind, prompt, kept - prompt))
        target = {Unit.TOKENS: Decimal(kept), Unit.COST: cost}
        self._give_back(hold, {unit: hold.amounts[unit] - target[unit] for unit in Unit})
        hold.amounts = target
        hold.expires_at = max(hold.expires_at, now + lease)
        return Hold(hold_id, kept, hold.expires_at)

    async def release(self, hold_id: UUID, now: datetime) -> bool:
        """Give back unused."""
        hold = self._store.holds.get(hold_id)
        if hold is None or hold.state is not HoldState.HELD:
            return False
        self._close(hold, HoldState.RELEASED, now)
        return True

    async def expire(self, now: datetime, limit: int) -> int:
        """Give back what has lapsed."""
        lapsed = [h for h in self._store.holds.values() if h.state is HoldState.HELD and h.expires_at <= now][:limit]
        for hold in lapsed:
            self._close(hold, HoldState.EXPIRED, now)
        return len(lapsed)

    async def purge(self, before: datetime, limit: int) -> int:
        """Forget what was closed long ago."""
        old = [key for key, hold in self._store.holds.items() if hold.closed_at is not None and hold.closed_at < before]
        for hold_id in old[:limit]:
            del self._store.holds[hold_id]
        return len(old[:limit])

    async def set_limits(
        self,
        tenant_id: int,
        subject_type: Subject,
        subject_id: str,
        tokens: int | None,
        cost: Decimal | None,
        now: datetime,
    ) -> None:
        """Change the limits that are given."""
        await self.ensure(tenant_id, None, now)
        given = {Unit.TOKENS: None if tokens is None else Decimal(tokens), Unit.COST: cost}
        budget = self._open(tenant_id, subject_type, subject_id, given, now)
        for unit, limit in given.items():
            if limit is not None:
                budget.limit[unit] = limit
                budget.notified[unit] = min(budget.notified[unit], highest_threshold(budget.used[unit], limit))
        budget.announced_at = None

    async def report(self, tenant_id: int, user_id: UUID, period: Period, now: datetime) -> Report:
        """Sums and budgets."""
        entries = [entry for entry in self._store.ledger if entry.usage.tenant_id == tenant_id]
        current = [entry for entry in entries if entry.usage.occurred_at >= period.starts_at]
        users = {entry.usage.user_id for entry in current if entry.usage.user_id is not None}
        return Report(
            period=period,
            tenant=_windows(entries, period, now),
            me=_windows([entry for entry in entries if entry.usage.user_id == user_id], period, now),
            budget=self._view(tenant_id, Subject.TENANT, str(tenant_id), period, now),
            my_budget=self._view(tenant_id, Subject.USER, str(user_id), period, now),
            by_model={
                model: _sum(entry for entry in current if entry.usage.model == model)
                for model in {entry.usage.model for entry in current}
            },
            by_user={user: _sum(entry for entry in current if entry.usage.user_id == user) for user in users},
        )

    def _layers(self, tenant_id: int, subjects: Mapping[Subject, str]) -> dict[BudgetKey, _Budget]:
        keys = [(tenant_id, subject, subjects[subject]) for subject in _LAYERS if subject in subjects]
        return {key: self._store.budgets[key] for key in keys if key in self._store.budgets}

    def _is_ready(self, layers: Mapping[BudgetKey, _Budget], user_id: UUID | None) -> bool:
        found = {subject for _, subject, _ in layers}
        needs_user = user_id is not None and any(limit is not None for limit in self._store.user_plan.values())
        return Subject.TENANT in found and (Subject.USER in found or not needs_user)

    def _open(
        self, tenant_id: int, subject: Subject, subject_id: str, limits: Mapping[Unit, Decimal | None], now: datetime
    ) -> _Budget:
        key = (tenant_id, subject, subject_id)
        if key not in self._store.budgets:
            budget = self._store.budgets[key] = _Budget(Period.month_of(now), dict(limits))
            for entry in self._store.ledger:
                usage = entry.usage
                is_its = usage.tenant_id == tenant_id and usage.subjects.get(subject) == subject_id
                if is_its and usage.occurred_at >= budget.period.starts_at:
                    budget.used[Unit.TOKENS] += usage.tokens
                    budget.used[Unit.COST] += entry.cost
        return self._store.budgets[key]

    def _give_back(self, hold: _Hold, amounts: Mapping[Unit, Decimal]) -> None:
        for key in hold.budgets:
            for unit in Unit:
                self._store.budgets[key].held[unit] -= amounts[unit]

    def _close(self, hold: _Hold, state: HoldState, now: datetime) -> None:
        self._give_back(hold, hold.amounts)
        hold.state, hold.closed_at = state, now

    def _view(self, tenant_id: int, subject: Subject, subject_id: str, period: Period, now: datetime) -> Budget | None:
        budget = self._store.budgets.get((tenant_id, subject, subject_id))
        if budget is None:
            return None
        budget = copy.deepcopy(budget)
        budget.roll(now)
        for hold in self._store.holds.values():
            lapsed = hold.state is HoldState.HELD and hold.expires_at <= now
            if lapsed and (tenant_id, subject, subject_id) in hold.budgets:
                for unit in Unit:
                    budget.held[unit] -= hold.amounts[unit]
        tokens, cost = (Counter(budget.limit[unit], budget.used[unit], budget.held[unit]) for unit in Unit)
        return Budget(subject, subject_id, period, tokens, cost)


class InMemoryPriceList:
    """Versioned prices."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, price: Price) -> int:
        """Add a version of a price."""
        if min(price.input, price.output, price.embedding) < 0:
            raise PriceInvalid
        key = (price.provider, price.model, price.valid_from)
        if any((old.provider, old.model, old.valid_from) == key for old in self._store.prices):
            raise PriceExists
        price = replace(price, id=len(self._store.prices) + 1)
        self._store.prices.append(price)
        return price.id


class InMemoryEvents:
    """Outbox and inbox."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, event: Event) -> None:
        """Keep an event."""
        self._store.events.append(event)

    async def claim(self, consumer: str, event_id: UUID) -> bool:
        """True the first time."""
        first = (consumer, event_id) not in self._store.seen
        self._store.seen.add((consumer, event_id))
        return first


@dataclass(frozen=True, slots=True)
class InMemoryTransaction:
    """What a unit of work offers."""

    accounts: InMemoryAccounts
    prices: InMemoryPriceList
    outbox: InMemoryEvents
    inbox: InMemoryEvents


class InMemoryUnitOfWork:
    """Transactions that take turns; an exception puts everything back."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._turn = asyncio.Lock()

    def __call__(self, tenant_id: int) -> AbstractAsyncContextManager[InMemoryTransaction]:
        """A transaction; the twin does not hide other tenants."""
        return self._transaction()

    def system(self) -> AbstractAsyncContextManager[InMemoryTransaction]:
        """A transaction."""
        return self._transaction()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[InMemoryTransaction]:
        async with self._turn:
            before = copy.deepcopy(self.store)
            try:
                events = InMemoryEvents(self.store)
                yield InMemoryTransaction(InMemoryAccounts(self.store), InMemoryPriceList(self.store), events, events)
            except BaseException:
                for name in Store.__slots__:
                    setattr(self.store, name, getattr(before, name))
                raise


@dataclass
class ManualClock:
    """A clock that stands still until it is moved."""

    moment: datetime = datetime(2026, 3, 10, 12, tzinfo=UTC)

    def now(self) -> datetime:
        """The moment it was set to."""
        return self.moment

    def advance(self, by: timedelta) -> None:
        """Move it."""
        self.moment += by


@dataclass
class CountingMeter:
    """Keeps what was counted."""

    outcomes: list[tuple[str, str | None]] = field(default_factory=list)
    bookings: list[tuple[str, Mapping[str, int], bool]] = field(default_factory=list)

    def held(self, outcome: str, subject: str | None = None) -> None:
        """Keep it."""
        self.outcomes.append((outcome, subject))

    def booked(self, kind: str, tokens: Mapping[str, int], *, unpriced: bool) -> None:
        """Keep it."""
        self.bookings.append((kind, tokens, unpriced))


def _windows(entries: list[Entry], period: Period, now: datetime) -> Windows:
    def since(moment: datetime) -> Totals:
        return _sum(entry for entry in entries if entry.usage.occurred_at >= moment)

    return Windows(since(now - timedelta(days=1)), since(now - timedelta(days=7)), since(period.starts_at))


def _sum(entries: Iterable[Entry]) -> Totals:
    total = Totals()
    for entry in entries:
        usage, is_embedding = entry.usage, entry.usage.kind is Kind.EMBEDDING
        total = Totals(
            total.input_tokens + (0 if is_embedding else usage.input_tokens),
            total.output_tokens + usage.output_tokens,
            total.embedding_tokens + (usage.input_tokens if is_embedding else 0),
            total.cost + entry.cost,
        )
    return total
