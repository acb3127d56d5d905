"""What may be spent and what is held: rules without input or output."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

THRESHOLDS: tuple[int, ...] = (50, 80, 95, 100)
"""Percentages of a budget that are announced, each once in a period."""


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
