"""What was spent, and how it is reported: rules without input or output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from docuchat_usage.quotas.domain import Budgets, Counter, Crossing, HoldState, Period, Unit

MOST_TOKENS: Final = 1_000_000_000
"""More than this in one call is no usage but a fault of whoever says so."""


class Kind(StrEnum):
    """What the tokens were spent on."""

    CHAT = "chat"
    EMBEDDING = "embedding"


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
    key_id: UUID | None = None
    visitor_id: UUID | None = None
    chat_id: UUID | None = None
    turn_id: UUID | None = None
    document_id: UUID | None = None
    hold_id: UUID | None = None
    corrects: UUID | None = None
    """The event whose figures these replace."""

    @property
    def tokens(self) -> int:
        """Every token of the call."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Booking:
    """A new entry of the ledger."""

    event_id: UUID
    cost: Decimal
    price_is_fallback: bool
    hold_state: HoldState | None
    """What the hold was before; None when there was none."""


@dataclass(frozen=True, slots=True)
class Bookings:
    """What became of a list of usage events: entries for those that were not booked before, and passed thresholds."""

    entries: tuple[Booking, ...]
    crossings: tuple[Crossing, ...]


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
class Edges:
    """A window's parts: entries up to the first full hour, hours up to the first full day, days from there on."""

    begins_at: datetime
    first_hour: datetime
    first_day: datetime

    @classmethod
    def of(cls, begins_at: datetime) -> Edges:
        """The parts of the window that begins at a moment (UTC)."""
        hour = begins_at.replace(minute=0, second=0, microsecond=0)
        first_hour = hour if hour == begins_at else hour + timedelta(hours=1)
        day = first_hour.replace(hour=0)
        return cls(begins_at, first_hour, day if day == first_hour else day + timedelta(days=1))


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that `GET /v1/usage` shows."""

    period: Period
    tenant: Windows
    me: Windows
    budgets: Budgets
    by_model: Mapping[str, Totals] = field(default_factory=dict)
    by_user: Mapping[UUID, Totals] = field(default_factory=dict)
    by_chatbot: Mapping[UUID, Mapping[Unit, Counter]] = field(default_factory=dict)
