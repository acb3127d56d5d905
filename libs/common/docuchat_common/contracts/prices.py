"""What the models of a provider cost, as chat tells usage before the provider can be asked: `PUT /internal/prices`."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

PATH: Final = "/internal/prices"
OWN: Final = "own/"
"""What the names of tenants' own providers begin with in the books; nobody else's price is ever theirs."""

Dollars = Annotated[Decimal, Field(ge=0, lt=100_000_000, max_digits=14, decimal_places=6, allow_inf_nan=False)]


def own_provider(tenant_id: int, name: str) -> str:
    """What a tenant's own provider is called in the books: no two tenants' are called the same."""
    return f"{OWN}{tenant_id}/{name}"


class ModelPrice(BaseModel):
    """What a model costs, in USD per million tokens."""

    model_config = ConfigDict(frozen=True)

    model: str = Field(min_length=1, max_length=200)
    input: Dollars
    output: Dollars
    embedding: Dollars


class ProviderPrices(BaseModel):
    """All prices of one provider. Telling the same again changes nothing."""

    model_config = ConfigDict(frozen=True)

    tenant_id: int | None
    """Whose provider it is; None: the platform's."""
    provider: str = Field(min_length=1, max_length=200)
    prices: tuple[ModelPrice, ...]
