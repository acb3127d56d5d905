"""Ledger entries: domain objects in, sums out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId
from docuchat_usage.ledger.domain import Booking, Bookings, Edges, Report, Totals, Usage, Windows
from docuchat_usage.ledger.errors import EntryMissing
from docuchat_usage.quotas.domain import THRESHOLDS, Budgets, Crossing, HoldState, Period, Subject, Unit

_queries: Final = load_queries(__package__)


class LedgerRepository:
    """The ledger on one connection of a unit of work."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def book(self, usages: list[Usage], now: datetime) -> Bookings:
        """Write an entry for each event that has none, charge every layer and close the holds.

        Raises:
            EntryMissing: one corrects an entry that is not there yet; nothing was booked.
        """
        period = Period.month_of(now)
        try:
            answer = await _queries.book(
                self._connection,
                events=orjson.dumps(usages).decode(),
                now=now,
                period_start=period.starts_at,
                period_end=period.ends_at,
                thresholds=THRESHOLDS,
            )
        except asyncpg.NoDataFoundError as error:
            raise EntryMissing(retry_after=timedelta(seconds=5)) from error
        booked = json.loads(answer, parse_float=Decimal, parse_int=Decimal)
        return Bookings(
            entries=tuple(_booking(entry) for entry in booked["entries"]),
            crossings=tuple(_crossing(crossing) for crossing in booked["crossings"]),
        )

    async def report(self, tenant_id: int, user_id: UUID | None, now: datetime, budgets: Budgets) -> Report:
        """Sums of the ledger beside the budgets."""
        period = Period.month_of(now)
        day, week = Edges.of(now - timedelta(days=1)), Edges.of(now - timedelta(days=7))
        tenant: dict[str, Totals] = {}
        mine: dict[str, Totals] = {}
        by_model: dict[str, Totals] = {}
        by_user: dict[UUID, Totals] = {}
        async for row in _queries.sum_usage(
            self._connection,
            tenant_id=tenant_id,
            day=day.begins_at,
            day_hour=day.first_hour,
            day_day=day.first_day,
            week=week.begins_at,
            week_hour=week.first_hour,
            week_day=week.first_day,
            period_start=period.starts_at,
        ):
            totals = Totals(row["input_tokens"], row["output_tokens"], row["embedding_tokens"], row["cost"])
            if row["is_model"]:
                if row["span"] == "period":
                    by_model[row["model"]] = totals
            elif not row["is_user"]:
                tenant[row["span"]] = totals
            elif row["user_id"] is not None:
                if row["span"] == "period":
                    by_user[row["user_id"]] = totals
                if row["user_id"] == user_id:
                    mine[row["span"]] = totals
        return Report(period, _windows(tenant), _windows(mine), budgets, by_model, by_user)

    async def list_booked(self, event_ids: Sequence[UUID]) -> list[UUID]:
        """Those of some events that have an entry."""
        return [row["event_id"] async for row in _queries.list_booked(self._connection, event_ids=event_ids)]

    async def forget(self, before: datetime, limit: int) -> int:
        """Forget entries that were booked before a moment; answers how many. Their sums stay."""
        count: int = await _queries.forget_entries(self._connection, before=before, batch=limit)
        return count

    async def strip(self, tenant_id: TenantId, limit: int) -> int:
        """Leave people, chats and documents out of entries of a tenant that is being erased; answers how many."""
        count: int = await _queries.strip(self._connection, tenant_id=tenant_id, max_rows=limit)
        return count

    async def forget_hours(self, before: datetime) -> None:
        """Forget sums by the hour that are older than every window."""
        await _queries.forget_hours(self._connection, before=before)


def _windows(totals: dict[str, Totals]) -> Windows:
    nothing = Totals()
    return Windows(totals.get("day", nothing), totals.get("week", nothing), totals.get("period", nothing))


def _booking(entry: Any) -> Booking:
    return Booking(
        event_id=UUID(entry["event_id"]),
        cost=entry["cost"],
        price_is_fallback=entry["is_fallback"],
        hold_state=None if entry["hold_state"] is None else HoldState(entry["hold_state"]),
    )


def _crossing(crossing: Any) -> Crossing:
    return Crossing(
        tenant_id=int(crossing["tenant_id"]),
        subject_type=Subject(crossing["subject_type"]),
        subject_id=crossing["subject_id"],
        unit=Unit(crossing["unit"]),
        period_start=datetime.fromisoformat(crossing["period_start"]),
        used=crossing["used"],
        limit=crossing["amount_limit"],
        before=int(crossing["before"]),
        after=int(crossing["after"]),
    )
