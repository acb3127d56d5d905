"""A chatbot as auth knows it, and who visits it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from docuchat_common.ids import TenantId

VISIT: Final = timedelta(minutes=15)
"""How long a visitor's token lives."""
REMEMBERED: Final = timedelta(days=30)
"""How long after its end a token can be renewed for the same visitor."""


@dataclass(frozen=True, slots=True)
class Chatbot:
    """Which pages may show a chatbot."""

    tenant_id: TenantId
    id: UUID
    origins: tuple[str, ...]
    version: int
    """Visitors' tokens of an older one are refused."""
    created_by: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Visit:
    """A visitor's token."""

    visitor_id: UUID
    token: str = field(repr=False)
