"""Prices as operators see and set them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field

from docuchat_common.http.json_body import AS_NUMBER, Name, StrictBody
from docuchat_usage.prices.domain import Price

Dollars = Annotated[
    Decimal, Field(ge=0, lt=100_000_000, max_digits=14, decimal_places=6, allow_inf_nan=False), AS_NUMBER
]


class PriceBody(StrictBody):
    """A version of a model's price, in USD per million tokens."""

    provider: Name = Field(default="*", description="`*` is any provider.")
    model: Name = Field(pattern=r"^[^*]*\*?$", description="A model, or the beginning of its name and `*`.")
    input: Dollars
    output: Dollars
    embedding: Dollars | None = Field(default=None, description="The same as `input` when it is not given.")
    valid_from: AwareDatetime | None = Field(default=None, description="Now when it is not given.")

    def to_domain(self, now: datetime) -> Price:
        """The same as a domain object."""
        return Price(
            id=0,
            provider=self.provider,
            model=self.model,
            input=self.input,
            output=self.output,
            embedding=self.input if self.embedding is None else self.embedding,
            valid_from=(self.valid_from or now).astimezone(UTC),
        )


class PriceView(BaseModel):
    """A version of a price, in USD per million tokens."""

    id: int
    provider: str = Field(examples=["*"])
    model: str = Field(examples=["gpt-4o-mini*"])
    input: float = Field(examples=[0.15])
    output: float = Field(examples=[0.6])
    embedding: float = Field(examples=[0.15])
    valid_from: datetime

    @classmethod
    def of(cls, price: Price) -> PriceView:
        """The view of a price."""
        return cls(
            id=price.id,
            provider=price.provider,
            model=price.model,
            input=float(price.input),
            output=float(price.output),
            embedding=float(price.embedding),
            valid_from=price.valid_from,
        )


class PricePage(BaseModel):
    """Prices by provider and model, the latest version of a model first."""

    items: list[PriceView]
