"""What may be spent, what is held, and what was booked: rules without input or output."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

THRESHOLDS: tuple[int, ...] = (50, 80, 95, 100)
"""Percentages of a budget that are announced, each once in a period."""

_MILLIONTH = Decimal("0.000001")


class Subject(StrEnum):
    """Who a budget belongs to, in the order in which budgets are locked."""

    TENANT = "tenant"
    CHATBOT = "chatbot"
    KEY = "key"
    USER = "user"


class Unit(StrEnum):
    """What a budget counts."""

    TOKENS = "tokens"
    COST = "cost"


class Kind(StrEnum):
    """What the tokens were spent on."""

    CHAT = "chat"
    EMBEDDING = "embedding"


class HoldState(StrEnum):
    """Where a hold stands; only `held` counts against a budget."""

    HELD = "held"
    SETTLED = "settled"
    EXPIRED = "expired"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open span of time, `starts_at <= t < ends_at`, aware UTC."""

    starts_at: datetime
    ends_at: datetime

    @classmethod
    def month_of(cls, moment: datetime) -> Period:
        """The calendar month in UTC that holds `moment`."""
        utc = moment.astimezone(UTC)
        start = datetime(utc.year, utc.month, 1, tzinfo=UTC)
        following = datetime(utc.year + utc.month // 12, utc.month % 12 + 1, 1, tzinfo=UTC)
        return cls(start, following)


@dataclass(frozen=True, slots=True)
class Price:
    """One version of a price: money per million tokens; `model` may end in `*`."""

    id: int
    provider: str
    model: str
    input: Decimal
    output: Decimal
    embedding: Decimal
    valid_from: datetime

    @property
    def is_fallback(self) -> bool:
        """Whether this is the price of models that nobody priced."""
        return self.provider == "*" and self.model == "*"

    def cost(self, kind: Kind, input_tokens: int, output_tokens: int) -> Decimal:
        """Exact cost; embedding tokens are counted as input tokens of their kind."""
        if kind is Kind.EMBEDDING:
            return self.embedding * input_tokens * _MILLIONTH
        return (self.input * input_tokens + self.output * output_tokens) * _MILLIONTH

    def matches(self, provider: str | None, model: str) -> bool:
        """Whether the price is meant for this model of this provider."""
        if self.provider not in ("*", provider):
            return False
        return model.startswith(self.model[:-1]) if self.model.endswith("*") else model == self.model


def choose_price(prices: Iterable[Price], provider: str | None, model: str, at: datetime) -> Price | None:
    """The most specific price in force at a moment.

    A price of the provider comes before a price of any provider, an exact model before a pattern, a longer pattern
    before a shorter one, a later version before an earlier one.
    """
    fitting = [price for price in prices if price.matches(provider, model) and price.valid_from <= at]
    return max(
        fitting,
        key=lambda p: (p.provider != "*", not p.model.endswith("*"), len(p.model), p.valid_from),
        default=None,
    )


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """A wish to spend, asked before a provider is called."""

    tenant_id: int
    kind: Kind
    model: str
    input_tokens: int
    max_output_tokens: int
    lease: timedelta
    user_id: UUID | None = None
    chatbot_id: UUID | None = None
    key_id: UUID | None = None
    provider: str | None = None

    @property
    def tokens(self) -> int:
        """The most tokens that the call can use."""
        return self.input_tokens + self.max_output_tokens

    @property
    def subjects(self) -> Mapping[Subject, str]:
        """Every subject that this call is charged to."""
        return subjects_of(self.tenant_id, user=self.user_id, chatbot=self.chatbot_id, key=self.key_id)


@dataclass(frozen=True, slots=True)
class Hold:
    """Tokens set aside until they are settled, released, or the lease ends."""

    id: UUID
    tokens: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Refusal:
    """The first layer, from the tenant down, in which a wish does not fit."""

    subject_type: Subject
    subject_id: str
    unit: Unit
    wanted: Decimal
    limit: Decimal
    used: Decimal
    held: Decimal
    resets_at: datetime
    announce: bool

    @property
    def remaining(self) -> Decimal:
        """What is neither used nor held, never below zero."""
        return max(self.limit - self.used - self.held, Decimal(0))

    def retry_after(self, now: datetime, lease: timedelta) -> timedelta:
        """When to try again: after a lease when only other people's holds are in the way, else at the reset."""
        until_reset = max(self.resets_at - now, timedelta(seconds=1))
        return min(until_reset, lease) if self.used + self.wanted <= self.limit else until_reset


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a provider was asked to spend, as an event reports them."""

    event_id: UUID
    tenant_id: int
    kind: Kind
    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    estimated: bool
    occurred_at: datetime
    user_id: UUID | None = None
    chatbot_id: UUID | None = None
    chat_id: UUID | None = None
    turn_id: UUID | None = None
    document_id: UUID | None = None
    hold_id: UUID | None = None

    @property
    def tokens(self) -> int:
        """Every token of the call."""
        return self.input_tokens + self.output_tokens

    @property
    def subjects(self) -> Mapping[Subject, str]:
        """Every subject that the call is charged to, as far as the event knows."""
        return subjects_of(self.tenant_id, user=self.user_id, chatbot=self.chatbot_id)


@dataclass(frozen=True, slots=True)
class Crossing:
    """A budget whose use passed one of the thresholds."""

    subject_type: Subject
    subject_id: str
    unit: Unit
    period_start: datetime
    used: Decimal
    limit: Decimal
    before: int
    after: int

    @property
    def percentages(self) -> tuple[int, ...]:
        """The thresholds that were passed by this booking."""
        return tuple(percent for percent in THRESHOLDS if self.before < percent <= self.after)


@dataclass(frozen=True, slots=True)
class Booking:
    """What became of a usage event; `booked` is false when its ledger entry existed already."""

    booked: bool
    cost: Decimal
    price_is_fallback: bool = False
    hold_state: HoldState | None = None
    crossings: tuple[Crossing, ...] = ()


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over ledger entries."""

    input_tokens: int = 0
    output_tokens: int = 0
    embedding_tokens: int = 0
    cost: Decimal = Decimal(0)

    @property
    def total_tokens(self) -> int:
        """Tokens of every kind."""
        return self.input_tokens + self.output_tokens + self.embedding_tokens


@dataclass(frozen=True, slots=True)
class Windows:
    """Sums over the last day, the last week and the current period."""

    last_24h: Totals = Totals()
    last_7d: Totals = Totals()
    period: Totals = Totals()


@dataclass(frozen=True, slots=True)
class Counter:
    """One unit of one budget."""

    limit: Decimal | None
    used: Decimal
    held: Decimal

    @property
    def remaining(self) -> Decimal | None:
        """What is neither used nor held, never below zero; None without a limit."""
        return None if self.limit is None else max(self.limit - self.used - self.held, Decimal(0))


@dataclass(frozen=True, slots=True)
class Budget:
    """What a subject may spend in its period, in tokens and in money."""

    subject_type: Subject
    subject_id: str
    period: Period
    tokens: Counter
    cost: Counter


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that `GET /v1/usage` shows."""

    period: Period
    tenant: Windows
    me: Windows
    budget: Budget | None
    my_budget: Budget | None
    by_model: Mapping[str, Totals] = field(default_factory=dict)
    by_user: Mapping[UUID, Totals] = field(default_factory=dict)


def subjects_of(
    tenant_id: int, *, user: UUID | None = None, chatbot: UUID | None = None, key: UUID | None = None
) -> Mapping[Subject, str]:
    """Subjects by type, in the order of their layers, with their ids as text."""
    named = ((Subject.TENANT, tenant_id), (Subject.CHATBOT, chatbot), (Subject.KEY, key), (Subject.USER, user))
    return {subject: str(value) for subject, value in named if value is not None}


def highest_threshold(used: Decimal | int, limit: Decimal | int | None) -> int:
    """The highest announced percentage that `used` has reached; 0 below the first one or without a limit."""
    if limit is None:
        return 0
    return max((percent for percent in THRESHOLDS if used * 100 >= limit * percent), default=0)
