"""The report of `GET /v1/usage`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_usage.ledger.domain import Report, Totals, Windows
from docuchat_usage.quotas.domain import Budget, Counter, Period, Unit
from docuchat_usage.quotas.service import amount

CURRENCY: Final = "USD"
K = TypeVar("K")


class TokenTotals(BaseModel):
    """Tokens and their cost over a span of time."""

    input_tokens: int = Field(description="Tokens of prompts.", examples=[5321])
    output_tokens: int = Field(description="Tokens of answers.", examples=[812])
    embedding_tokens: int = Field(description="Tokens of documents and questions that were embedded.", examples=[20480])
    total_tokens: int = Field(description="All of them.", examples=[26613])
    cost: str = Field(description="Exact decimal amount, as text so that no digit is lost.", examples=["0.00169495"])
    currency: str = Field(description="Currency of `cost`.", examples=[CURRENCY])


class PeriodTotals(TokenTotals):
    """Totals of the current billing period, a calendar month in UTC."""

    starts_at: datetime
    ends_at: datetime


class TokenQuota(BaseModel):
    """A budget in tokens."""

    limit: int | None = Field(description="null when there is no limit.", examples=[50_000_000])
    used: int = Field(description="Booked in this period.", examples=[26613])
    held: int = Field(description="Set aside for calls that are running.", examples=[4096])
    remaining: int | None = Field(description="limit - used - held, never below 0.", examples=[49_969_291])


class CostQuota(BaseModel):
    """A budget in money, as exact decimal amounts."""

    limit: str = Field(examples=["250"])
    used: str = Field(examples=["0.00169495"])
    held: str = Field(examples=["0.0024576"])
    remaining: str = Field(description="limit - used - held, never below 0.", examples=["249.99584745"])
    currency: str = Field(examples=[CURRENCY])


class Quota(BaseModel):
    """What may still be spent in this period."""

    tokens: TokenQuota
    cost: CostQuota | None = Field(description="null when there is no limit in money.")
    resets_at: datetime = Field(description="When the next period begins.")


class OwnUsage(BaseModel):
    """The same for the calling user alone."""

    last_24h: TokenTotals
    last_7d: TokenTotals
    period: PeriodTotals
    quota: Quota | None = Field(description="null when the user has no budget besides the tenant's.")


class ModelUsage(TokenTotals):
    """What one model used in this period."""

    model: str = Field(examples=["gpt-4o-mini"])


class UserUsage(TokenTotals):
    """What one user used in this period."""

    user_id: UUID


class UsageReport(BaseModel):
    """Usage and quota of the tenant, and of the calling user in it."""

    last_24h: TokenTotals
    last_7d: TokenTotals
    period: PeriodTotals
    quota: Quota
    me: OwnUsage
    by_model: list[ModelUsage] = Field(description="This period by model, the most expensive first.")
    by_user: list[UserUsage] | None = Field(
        default=None, description="This period by user, the most expensive first; for owners and admins, else null."
    )

    @classmethod
    def of(cls, report: Report, *, with_users: bool) -> UsageReport:
        """The view of a report; `by_user` only for those who may see it."""
        assert report.budget is not None  # the use case opens the tenant's budget before it reports
        return cls(
            last_24h=_totals(report.tenant.last_24h),
            last_7d=_totals(report.tenant.last_7d),
            period=_period(report.tenant.period, report.period),
            quota=_quota(report.budget, report.period),
            me=_own(report.me, report.period, report.my_budget),
            by_model=[ModelUsage(model=model, **_amounts(totals)) for model, totals in _dearest_first(report.by_model)],
            by_user=[UserUsage(user_id=user, **_amounts(totals)) for user, totals in _dearest_first(report.by_user)]
            if with_users
            else None,
        )


def _amounts(totals: Totals) -> dict[str, Any]:
    return {
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        "embedding_tokens": totals.embedding_tokens,
        "total_tokens": totals.total_tokens,
        "cost": amount(Unit.COST, totals.cost),
        "currency": CURRENCY,
    }


def _totals(totals: Totals) -> TokenTotals:
    return TokenTotals(**_amounts(totals))


def _period(totals: Totals, period: Period) -> PeriodTotals:
    return PeriodTotals(**_amounts(totals), starts_at=period.starts_at, ends_at=period.ends_at)


def _own(windows: Windows, period: Period, budget: Budget | None) -> OwnUsage:
    return OwnUsage(
        last_24h=_totals(windows.last_24h),
        last_7d=_totals(windows.last_7d),
        period=_period(windows.period, period),
        quota=None if budget is None else _quota(budget, period),
    )


def _quota(budget: Budget, period: Period) -> Quota:
    return Quota(tokens=_token_quota(budget.tokens), cost=_cost_quota(budget.cost), resets_at=period.ends_at)


def _token_quota(counter: Counter) -> TokenQuota:
    return TokenQuota(
        limit=None if counter.limit is None else int(counter.limit),
        used=int(counter.used),
        held=int(counter.held),
        remaining=None if counter.remaining is None else int(counter.remaining),
    )


def _cost_quota(counter: Counter) -> CostQuota | None:
    if counter.limit is None or counter.remaining is None:
        return None
    return CostQuota(
        limit=amount(Unit.COST, counter.limit),
        used=amount(Unit.COST, counter.used),
        held=amount(Unit.COST, counter.held),
        remaining=amount(Unit.COST, counter.remaining),
        currency=CURRENCY,
    )


def _dearest_first(totals: Mapping[K, Totals]) -> list[tuple[K, Totals]]:
    return sorted(totals.items(), key=lambda item: (-item[1].cost, -item[1].total_tokens, str(item[0])))
