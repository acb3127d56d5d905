"""What was spent, and how it is reported: rules without input or output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from docuchat_usage.quotas.domain import Budget, Crossing, HoldState, Kind, Period


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
class Report:
    """Everything that `GET /v1/usage` shows."""

    period: Period
    tenant: Windows
    me: Windows
    budget: Budget | None
    my_budget: Budget | None
    by_model: Mapping[str, Totals] = field(default_factory=dict)
    by_user: Mapping[UUID, Totals] = field(default_factory=dict)
