"""Requests and responses of holds and limits."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import Path
from pydantic import BaseModel, Field, model_validator

from docuchat_common.contracts.holds import HoldView
from docuchat_common.http.json_body import AS_NUMBER, StrictBody, Whole
from docuchat_usage.quotas.domain import Budgets, Hold, Subject, Unit


def hold_view(hold: Hold) -> HoldView:
    """The view of an open hold."""
    return HoldView(hold_id=hold.id, tokens=hold.tokens, expires_at=hold.expires_at)


TenantNumber = Annotated[int, Path(ge=1, lt=1 << 63, description="The tenant's number.")]
Count = Annotated[Whole, Field(ge=0, le=1 << 60)]
Dollars = Annotated[Decimal, Field(ge=0, max_digits=20, decimal_places=12, allow_inf_nan=False), AS_NUMBER]


class QuotaBody(StrictBody):
    """Limits; one that is not given stays as it is, null is no limit."""

    user_id: UUID | None = Field(default=None, description="One user of the tenant; without it the tenant itself.")
    tokens: Count | None = Field(default=None, description="Tokens a month.", examples=[50_000_000])
    cost: Dollars | None = Field(default=None, description="USD a month.", examples=[250])
    messages: Count | None = Field(default=None, description="Messages a month.")
    requests: Count | None = Field(default=None, description="Calls of `/v1/embeddings` a month; 0: not in the plan.")
    documents: Count | None = Field(default=None, description="Documents that may be stored.", examples=[10_000])
    pages: Count | None = Field(default=None, description="Pages of documents that may be stored.", examples=[100_000])
    bytes: Count | None = Field(default=None, description="Bytes that may be stored.", examples=[10_000_000_000])

    @model_validator(mode="after")
    def _says_something(self) -> QuotaBody:
        if not self.limits():
            raise ValueError(f"name at least one limit: {', '.join(Unit)}")
        return self

    def limits(self) -> dict[Unit, Decimal | int | None]:
        """The limits that were given."""
        return {unit: getattr(self, unit.value) for unit in Unit if unit.value in self.model_fields_set}


class LimitView(BaseModel):
    """One unit of a budget."""

    subject_type: str = Field(examples=["tenant"])
    unit: str = Field(examples=["tokens"])
    limit: float | None = Field(description="null when there is no limit.")
    used: float
    held: float
    remaining: float | None
    resets_at: datetime | None = Field(description="null for what is stored: documents, pages, bytes.")


class QuotaView(BaseModel):
    """What a tenant, and one of its users, may use."""

    tenant_id: int
    user_id: UUID | None
    limits: list[LimitView]

    @classmethod
    def of(cls, tenant_id: int, user_id: UUID | None, budgets: Budgets) -> QuotaView:
        """The view of budgets, in the order of layers and units."""
        return cls(
            tenant_id=tenant_id,
            user_id=user_id,
            limits=[
                LimitView(
                    subject_type=subject.value,
                    unit=unit.value,
                    limit=None if counter.limit is None else unit.number(counter.limit),
                    used=unit.number(counter.used),
                    held=unit.number(counter.held),
                    remaining=None if counter.remaining is None else unit.number(counter.remaining),
                    resets_at=counter.resets_at,
                )
                for subject in Subject
                for unit in Unit
                if (counter := budgets.get(subject, {}).get(unit)) is not None
            ],
        )
