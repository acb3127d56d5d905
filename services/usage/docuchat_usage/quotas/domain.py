"""What may be used and what is held: rules without input or output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

THRESHOLDS: Final[tuple[int, ...]] = (50, 80, 95, 100)
"""Percentages of a budget that are announced, each once in a period."""


class Subject(StrEnum):
    """Who a budget belongs to, in the order in which layers are asked."""

    TENANT = "tenant"
    CHATBOT = "chatbot"
    KEY = "key"
    USER = "user"
    VISITOR = "visitor"
    ADDRESS = "address"
    VISITORS = "visitors"

    @property
    def layer(self) -> str:
        """The layer's name for whom it refuses: all visitors of a chatbot together are the chatbot's layer."""
        return "chatbot" if self is Subject.VISITORS else self.value


DEMO_SUBJECTS: Final = frozenset({Subject.VISITOR, Subject.ADDRESS, Subject.VISITORS})
"""Those whose messages are a chatbot's demo."""


class Unit(StrEnum):
    """What a budget counts."""

    TOKENS = "tokens"
    COST = "cost"
    MESSAGES = "messages"
    REQUESTS = "requests"
    DOCUMENTS = "documents"
    PAGES = "pages"
    BYTES = "bytes"

    def number(self, amount: Decimal) -> float:
        """An amount as JSON shows it: a whole number, or money in USD."""
        return float(amount) if self is Unit.COST else int(amount)

    def text(self, amount: Decimal) -> str:
        """An amount as an exact decimal without trailing zeros."""
        return f"{amount.normalize():f}"


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
class Hold:
    """Amounts set aside until they are settled, released, or the lease ends."""

    id: UUID
    tokens: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Counter:
    """One unit of one budget."""

    limit: Decimal | None
    used: Decimal
    held: Decimal
    resets_at: datetime | None = None
    """None for what is standing: documents, pages, bytes."""

    @property
    def remaining(self) -> Decimal | None:
        """What is neither used nor held, never below zero; None without a limit."""
        return None if self.limit is None else max(self.limit - self.used - self.held, Decimal(0))


Budgets = Mapping[Subject, Mapping[Unit, Counter]]
"""Counters of several subjects by unit."""


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
    resets_at: datetime | None
    announce: bool

    @property
    def is_busy(self) -> bool:
        """Whether only other holds stand in the way."""
        return self.used + self.wanted <= self.limit

    @property
    def is_demo(self) -> bool:
        """Whether what has no room are the messages of a chatbot's visitors."""
        return self.unit is Unit.MESSAGES and self.subject_type in DEMO_SUBJECTS

    @property
    def remaining(self) -> Decimal:
        """What is neither used nor held, never below zero."""
        return max(self.limit - self.used - self.held, Decimal(0))


@dataclass(frozen=True, slots=True)
class Crossing:
    """A budget whose use passed one of the thresholds."""

    tenant_id: int
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
