"""What was used, and what may be, as the service tells it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from pydantic import Field

from docuchat_client.models import Model


class UsageWindow(Model):
    """Tokens and cost of a span of time."""

    input_tokens: int = 0
    output_tokens: int = 0
    embedding_tokens: int = 0
    total_tokens: int = 0
    cost: Decimal = Decimal(0)
    currency: str = "USD"
    starts_at: datetime | None = None
    ends_at: datetime | None = None


class Allowance(Model):
    """A limit and what is left of it; `limit` None is no limit."""

    limit: Decimal | None = None
    used: Decimal = Decimal(0)
    held: Decimal = Decimal(0)
    remaining: Decimal | None = None


class Quota(Model):
    """The limits in force."""

    tokens: Allowance | None = None
    cost: Allowance | None = None
    resets_at: datetime | None = None


class OwnUsage(Model):
    """The usage of the one who asks."""

    last_24h: UsageWindow = UsageWindow()
    last_7d: UsageWindow = UsageWindow()
    period: UsageWindow = UsageWindow()
    quota: Quota | None = None


class ModelUsage(UsageWindow):
    """The usage of one model."""

    model: str


class ChatbotUsage(Model):
    """The usage of one chatbot in this period."""

    chatbot_id: UUID
    messages: int = 0
    tokens: Allowance = Allowance()
    cost: Decimal = Decimal(0)
    currency: str = "USD"


class Usage(Model):
    """The usage of the tenant."""

    last_24h: UsageWindow = UsageWindow()
    last_7d: UsageWindow = UsageWindow()
    period: UsageWindow = UsageWindow()
    quota: Quota | None = None
    me: OwnUsage | None = None
    by_model: list[ModelUsage] = Field(default=[])
    by_chatbot: list[ChatbotUsage] | None = None
    """None to who does not see the usage of others."""
