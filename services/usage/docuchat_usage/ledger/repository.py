"""Ledger entries: domain objects in, sums out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import asyncpg

from docuchat_common.db import load_queries
from docuchat_usage.ledger.domain import Booking, Report, Totals, Usage, Windows
from docuchat_usage.quotas.domain import THRESHOLDS, Budget, Crossing, HoldState, Period, Subject, Unit

_queries: Final = load_queries(__package__)


class LedgerRepository:
    """The ledger on one connection of a unit of work; `book` answers None as `QuotaRepository.hold` does."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def book(self, usage: Usage, now: datetime) -> Booking | None:
        """Write the ledger entry, charge every layer and close the hold: one statement."""
        period = Period.month_of(now)
        rows = [
            row
            async for row in _queries.book(
                self._connection,
                event_id=usage.event_id,
                tenant_id=usage.tenant_id,
                hold_id=usage.hold_id,
                user_id=_text(usage.user_id),
                chatbot_id=_text(usage.chatbot_id),
                chat_id=usage.chat_id,
                turn_id=usage.turn_id,
                document_id=usage.document_id,
                kind=usage.kind.value,
                provider=usage.provider,
                model=usage.model,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                estimated=usage.estimated,
                occurred_at=usage.occurred_at,
                now=now,
                period_start=period.starts_at,
                period_end=period.ends_at,
                thresholds=THRESHOLDS,
            )
        ]
        first = rows[0]
        if not first["ready"]:
            return None
        return Booking(
            booked=first["booked"],
            cost=first["cost"],
            price_is_fallback=first["price_is_fallback"],
            hold_state=HoldState(first["hold_state"]) if first["hold_state"] else None,
            crossings=tuple(crossing for row in rows for crossing in _crossings(row)),
        )

    async def report(
        self, tenant_id: int, user_id: UUID, period: Period, now: datetime, budgets: Mapping[Subject, Budget]
    ) -> Report:
        """Sums of the ledger beside the budgets."""
        day_ago, week_ago = now - timedelta(days=1), now - timedelta(days=7)
        tenant = mine = Windows()
        by_model: dict[str, Totals] = {}
        by_user: dict[UUID, Totals] = {}
        async for row in _queries.sum_ledger(
            self._connection,
            tenant_id=tenant_id,
            since=min(week_ago, period.starts_at),
            day_ago=day_ago,
            week_ago=week_ago,
            period_start=period.starts_at,
        ):
            if row["is_model"]:
                by_model[row["model"]] = _totals(row, "period")
            elif not row["is_user"]:
                tenant = _windows(row)
            elif row["user_id"] is not None:
                by_user[row["user_id"]] = _totals(row, "period")
                if row["user_id"] == user_id:
                    mine = _windows(row)
        return Report(
            period=period,
            tenant=tenant,
            me=mine,
            budget=budgets.get(Subject.TENANT),
            my_budget=budgets.get(Subject.USER),
            by_model=by_model,
            by_user=by_user,
        )


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _crossings(row: Any) -> Sequence[Crossing]:
    if row["subject_type"] is None:
        return ()
    counters = (
        (Unit.TOKENS, row["tokens_used"], row["token_limit"], row["tokens_before"], row["tokens_after"]),
        (Unit.COST, row["cost_used"], row["cost_limit"], row["cost_before"], row["cost_after"]),
    )
    return [
        Crossing(
            subject_type=Subject(row["subject_type"]),
            subject_id=row["subject_id"],
            unit=unit,
            period_start=row["period_start"],
            used=Decimal(used),
            limit=Decimal(limit),
            before=before,
            after=after,
        )
        for unit, used, limit, before, after in counters
        if after > before
    ]


def _totals(row: Any, window: str) -> Totals:
    return Totals(row[f"{window}_input"], row[f"{window}_output"], row[f"{window}_embedding"], row[f"{window}_cost"])


def _windows(row: Any) -> Windows:
    return Windows(_totals(row, "day"), _totals(row, "week"), _totals(row, "period"))
