"""What a model costs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


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
    owner_tenant: int | None = None
    """The tenant whose own provider it is; None: the platform's price."""
