"""Rows in, domain objects out: the only place of this service that knows asyncpg."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import asyncpg

from docuchat_common.db import load_queries
from docuchat_usage.domain import (
    THRESHOLDS,
    Booking,
    Budget,
    Counter,
    Crossing,
    Hold,
    HoldRequest,
    HoldState,
    Period,
    Price,
    Refusal,
    Report,
    Subject,
    Totals,
    Unit,
    Usage,
    Windows,
)
from docuchat_usage.errors import HoldNotFound, PriceExists, PriceInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from docuchat_common.messaging.inbox import Inbox
    from docuchat_common.messaging.outbox import Outbox

_queries: Final = load_queries("docuchat_usage")


class PostgresAccounts:
    """Budgets, holds and the ledger on one connection of a unit of work."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def hold(
        self, hold_id: UUID, request: HoldRequest, now: datetime, announce_every: timedelta
    ) -> Hold | Refusal | None:
        """Set tokens and cost aside in every layer, or in none: one statement."""
        period = Period.month_of(now)
        expires_at = now + request.lease
        row = await _queries.hold(
            self._connection,
            tenant_id=request.tenant_id,
            hold_id=hold_id,
            user_id=_text(request.user_id),
            chatbot_id=_text(request.chatbot_id),
            key_id=_text(request.key_id),
            provider=request.provider,
            model=request.model,
            kind=request.kind.value,
            input_tokens=request.input_tokens,
            output_tokens=request.max_output_tokens,
            now=now,
            expires_at=expires_at,
            period_start=period.starts_at,
            period_end=period.ends_at,
            announce_before=now - announce_every,
        )
        if not row["ready"]:
            return None
        if row["fits"]:
            return Hold(hold_id, row["tokens"], expires_at)
        unit, wanted, limit, used, held = (
            (Unit.TOKENS, row["tokens"], row["token_limit"], row["tokens_used"], row["tokens_kept"])
            if row["lacks_tokens"]
            else (Unit.COST, row["cost"], row["cost_limit"], row["cost_used"], row["cost_kept"])
        )
        return Refusal(
            subject_type=Subject(row["subject_type"]),
            subject_id=row["subject_id"],
            unit=unit,
            wanted=Decimal(wanted),
            limit=Decimal(limit),
            used=Decimal(used),
            held=Decimal(held),
            resets_at=row["ends_at"],
            announce=row["announce"],
        )

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

    async def ensure(self, tenant_id: int, user_id: UUID | None, now: datetime) -> None:
        """Create what is missing, in the tenant's turn."""
        period = Period.month_of(now)
        await _queries.ensure_subscription(self._connection, tenant_id=tenant_id)
        await self._ensure_tenant_budget(tenant_id, period)
        if user_id is None:
            return
        limits = await _queries.find_user_limits(self._connection, tenant_id=tenant_id)
        if limits["user_token_limit"] is not None or limits["user_cost_limit"] is not None:
            await self._open_budget(
                tenant_id, Subject.USER, str(user_id), limits["user_token_limit"], limits["user_cost_limit"], period
            )

    async def renew(self, hold_id: UUID, lease: timedelta, tokens: int | None, now: datetime) -> Hold:
        """Prolong a lease and give back what will not be used."""
        row = await _queries.renew(self._connection, hold_id=hold_id, tokens=tokens, expires_at=now + lease)
        if row is None:
            raise HoldNotFound
        return Hold(row["id"], row["tokens"], row["expires_at"])

    async def release(self, hold_id: UUID, now: datetime) -> bool:
        """Give a hold back unused."""
        return await _queries.release(self._connection, hold_id=hold_id, now=now) is not None

    async def expire(self, now: datetime, limit: int) -> int:
        """Give back holds whose lease has ended, passing over those that somebody is just closing."""
        count: int = await _queries.expire(self._connection, now=now, batch=limit)
        return count

    async def purge(self, before: datetime, limit: int) -> int:
        """Forget holds that were closed before a moment."""
        count: int = await _queries.purge(self._connection, before=before, batch=limit)
        return count

    async def set_limits(
        self,
        tenant_id: int,
        subject_type: Subject,
        subject_id: str,
        tokens: int | None,
        cost: Decimal | None,
        now: datetime,
    ) -> None:
        """Set what a subject may spend, opening its budget when it has none."""
        await self.ensure(tenant_id, None, now)
        if subject_type is not Subject.TENANT:
            await self._open_budget(tenant_id, subject_type, subject_id, tokens, cost, Period.month_of(now))
        await _queries.set_limits(
            self._connection,
            tenant_id=tenant_id,
            subject_type=subject_type.value,
            subject_id=subject_id,
            token_limit=tokens,
            cost_limit=cost,
            thresholds=THRESHOLDS,
        )

    async def report(self, tenant_id: int, user_id: UUID, period: Period, now: datetime) -> Report:
        """Sums of the ledger and the budgets as they stand."""
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
        budgets = {
            Subject(row["subject_type"]): _budget(row, period)
            async for row in _queries.list_budgets(self._connection, tenant_id=tenant_id, user_id=str(user_id), now=now)
        }
        return Report(
            period=period,
            tenant=tenant,
            me=mine,
            budget=budgets.get(Subject.TENANT),
            my_budget=budgets.get(Subject.USER),
            by_model=by_model,
            by_user=by_user,
        )

    async def _ensure_tenant_budget(self, tenant_id: int, period: Period) -> None:
        await _queries.ensure_tenant_budget(
            self._connection, tenant_id=tenant_id, period_start=period.starts_at, period_end=period.ends_at
        )

    async def _open_budget(
        self,
        tenant_id: int,
        subject_type: Subject,
        subject_id: str,
        tokens: int | None,
        cost: Decimal | None,
        period: Period,
    ) -> None:
        await _queries.lock_tenant_budget(self._connection, tenant_id=tenant_id)
        await _queries.open_budget(
            self._connection,
            tenant_id=tenant_id,
            subject_type=subject_type.value,
            subject_id=subject_id,
            token_limit=tokens,
            cost_limit=cost,
            period_start=period.starts_at,
            period_end=period.ends_at,
        )


class PostgresPriceList:
    """Versioned prices; adding needs the system role."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def add(self, price: Price) -> int:
        """Add a version of a price."""
        try:
            added: int = await _queries.add_price(
                self._connection,
                provider=price.provider,
                model=price.model,
                input=price.input,
                output=price.output,
                embedding=price.embedding,
                valid_from=price.valid_from,
            )
        except asyncpg.UniqueViolationError as error:
            raise PriceExists from error
        except (asyncpg.CheckViolationError, asyncpg.NumericValueOutOfRangeError) as error:
            raise PriceInvalid from error
        return added


@dataclass(frozen=True, slots=True)
class PostgresTransaction:
    """What a unit of work of this service composes on its connection."""

    accounts: PostgresAccounts
    prices: PostgresPriceList
    outbox: Outbox
    inbox: Inbox


def compose(connection: asyncpg.Connection, outbox: Outbox, inbox: Inbox) -> PostgresTransaction:
    """The repositories on one connection."""
    return PostgresTransaction(PostgresAccounts(connection), PostgresPriceList(connection), outbox, inbox)


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


def _budget(row: Any, period: Period) -> Budget:
    return Budget(
        subject_type=Subject(row["subject_type"]),
        subject_id=row["subject_id"],
        period=period,
        tokens=_counter(row["token_limit"], row["tokens_used"], row["tokens_held"]),
        cost=_counter(row["cost_limit"], row["cost_used"], row["cost_held"]),
    )


def _counter(limit: int | Decimal | None, used: int | Decimal, held: int | Decimal) -> Counter:
    return Counter(None if limit is None else Decimal(limit), Decimal(used), Decimal(held))
