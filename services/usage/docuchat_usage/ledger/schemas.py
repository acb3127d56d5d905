"""The report of `GET /v1/usage`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from docuchat_usage.ledger.domain import Report, Totals
from docuchat_usage.quotas.domain import Counter, Period, Subject, Unit

CURRENCY: Final = "USD"
K = TypeVar("K")


class TokenTotals(BaseModel):
    """Tokens and their cost over a span of time."""

    input_tokens: int = Field(description="Tokens of prompts.", examples=[5321])
    output_tokens: int = Field(description="Tokens of answers.", examples=[812])
    embedding_tokens: int = Field(description="Tokens of documents and questions that were embedded.", examples=[20480])
    total_tokens: int = Field(description="All of them.", examples=[26613])
    cost: float = Field(
        description="A number in `currency`; its digits are exact up to the fifteenth.", examples=[0.00169495]
    )
    currency: str = Field(description="Currency of `cost`.", examples=[CURRENCY])


class PeriodTotals(TokenTotals):
    """Totals of the current billing period, a calendar month in UTC."""

    starts_at: datetime
    ends_at: datetime


class CostQuota(BaseModel):
    """A budget in money."""

    limit: float = Field(examples=[250])
    used: float = Field(examples=[0.00169495])
    held: float = Field(examples=[0.0024576])
    remaining: float = Field(description="limit - used - held, never below 0.", examples=[249.99584745])
    currency: str = Field(examples=[CURRENCY])


class CountQuota(BaseModel):
    """A budget in whole numbers."""

    limit: int | None = Field(description="null when there is no limit.", examples=[10_000])
    used: int = Field(examples=[12])
    held: int = Field(description="Set aside for what is running.", examples=[0])
    remaining: int | None = Field(description="limit - used - held, never below 0.", examples=[9_988])


class Quota(BaseModel):
    """What may still be used."""

    tokens: CountQuota | None = Field(description="Tokens of this period; null for a user without a limit of tokens.")
    cost: CostQuota | None = Field(description="Money of this period; null when there is no limit in money.")
    documents: CountQuota | None = Field(description="Documents that are stored.")
    pages: CountQuota | None = Field(description="Pages of the documents that are stored.")
    bytes: CountQuota | None = Field(description="Bytes of the documents that are stored.")
    resets_at: datetime = Field(description="When the next period begins; what is stored has none.")


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


class ChatbotUsage(BaseModel):
    """What one chatbot used in this period, whoever asked it."""

    chatbot_id: UUID
    tokens: CountQuota
    messages: int = Field(description="Messages that were answered.", examples=[42])
    cost: float = Field(examples=[0.00169495])
    currency: str = Field(examples=[CURRENCY])


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
    by_chatbot: list[ChatbotUsage] | None = Field(
        default=None, description="This period by chatbot, the most expensive first; for owners and admins, else null."
    )

    @classmethod
    def of(cls, report: Report, *, with_users: bool) -> UsageReport:
        """The view of a report; `by_user` and `by_chatbot` only for those who may see them."""
        return cls(
            last_24h=_totals(report.tenant.last_24h),
            last_7d=_totals(report.tenant.last_7d),
            period=_period(report.tenant.period, report.period),
            quota=_quota(report.budgets[Subject.TENANT], report.period),
            me=_own(report),
            by_model=[ModelUsage(model=model, **_amounts(totals)) for model, totals in _dearest_first(report.by_model)],
            by_user=[UserUsage(user_id=user, **_amounts(totals)) for user, totals in _dearest_first(report.by_user)]
            if with_users
            else None,
            by_chatbot=_chatbots(report.by_chatbot) if with_users else None,
        )


def _amounts(totals: Totals) -> dict[str, Any]:
    return {
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        "embedding_tokens": totals.embedding_tokens,
        "total_tokens": totals.total_tokens,
        "cost": float(totals.cost),
        "currency": CURRENCY,
    }


def _totals(totals: Totals) -> TokenTotals:
    return TokenTotals(**_amounts(totals))


def _period(totals: Totals, period: Period) -> PeriodTotals:
    return PeriodTotals(**_amounts(totals), starts_at=period.starts_at, ends_at=period.ends_at)


def _own(report: Report) -> OwnUsage:
    mine = next((counters for subject, counters in report.budgets.items() if subject is not Subject.TENANT), None)
    return OwnUsage(
        last_24h=_totals(report.me.last_24h),
        last_7d=_totals(report.me.last_7d),
        period=_period(report.me.period, report.period),
        quota=None if mine is None else _quota(mine, report.period),
    )


def _quota(counters: Mapping[Unit, Counter], period: Period) -> Quota:
    return Quota(
        tokens=_count(counters.get(Unit.TOKENS)),
        cost=_cost(counters.get(Unit.COST)),
        documents=_count(counters.get(Unit.DOCUMENTS)),
        pages=_count(counters.get(Unit.PAGES)),
        bytes=_count(counters.get(Unit.BYTES)),
        resets_at=period.ends_at,
    )


def _count(counter: Counter | None) -> CountQuota | None:
    return None if counter is None else _counted(counter)


def _counted(counter: Counter) -> CountQuota:
    return CountQuota(
        limit=None if counter.limit is None else int(counter.limit),
        used=int(counter.used),
        held=int(counter.held),
        remaining=None if counter.remaining is None else int(counter.remaining),
    )


def _cost(counter: Counter | None) -> CostQuota | None:
    if counter is None or counter.limit is None or counter.remaining is None:
        return None
    return CostQuota(
        limit=float(counter.limit),
        used=float(counter.used),
        held=float(counter.held),
        remaining=float(counter.remaining),
        currency=CURRENCY,
    )


def _chatbots(found: Mapping[UUID, Mapping[Unit, Counter]]) -> list[ChatbotUsage]:
    none = Counter(None, Decimal(0), Decimal(0))
    dearest = sorted(found.items(), key=lambda item: (-item[1].get(Unit.COST, none).used, str(item[0])))
    return [
        ChatbotUsage(
            chatbot_id=chatbot,
            tokens=_counted(counters.get(Unit.TOKENS, none)),
            messages=int(counters.get(Unit.MESSAGES, none).used),
            cost=float(counters.get(Unit.COST, none).used),
            currency=CURRENCY,
        )
        for chatbot, counters in dearest
    ]


def _dearest_first(totals: Mapping[K, Totals]) -> list[tuple[K, Totals]]:
    return sorted(totals.items(), key=lambda item: (-item[1].cost, -item[1].total_tokens, str(item[0])))


class KnownBody(BaseModel):
    """Usage events that somebody has published."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event_ids: list[UUID] = Field(min_length=1, max_length=1000)


class KnownView(BaseModel):
    """Those of them that are booked."""

    known: list[UUID]
