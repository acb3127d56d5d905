"""Budgets and holds: rows in, domain objects out."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import asyncpg

from docuchat_common.db import load_queries
from docuchat_usage.quotas.domain import (
    THRESHOLDS,
    Budget,
    Counter,
    Hold,
    HoldRequest,
    Period,
    Refusal,
    Subject,
    Unit,
)
from docuchat_usage.quotas.errors import HoldNotFound

_queries: Final = load_queries(__package__)


class QuotaRepository:
    """Budgets and holds on one connection of a unit of work.

    `hold` answers None when the budgets it needs do not exist yet or were added to while it waited; nothing was written
    then, and the caller calls `ensure` and tries again.
    """

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

    async def budgets(self, tenant_id: int, user_id: UUID, period: Period, now: datetime) -> dict[Subject, Budget]:
        """The budgets of a tenant and of one of its users as they stand."""
        return {
            Subject(row["subject_type"]): _budget(row, period)
            async for row in _queries.list_budgets(self._connection, tenant_id=tenant_id, user_id=str(user_id), now=now)
        }

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


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


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
