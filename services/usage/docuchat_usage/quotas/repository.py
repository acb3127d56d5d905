"""Budgets and holds: rows in, domain objects out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import asyncpg

from docuchat_common.contracts.holds import HoldRequest, HoldUnit
from docuchat_common.db import load_queries
from docuchat_usage.quotas.domain import THRESHOLDS, Budgets, Counter, Hold, Period, Refusal, Subject, Unit
from docuchat_usage.quotas.errors import HoldNotFound, TenantUnknown

_queries: Final = load_queries(__package__)
_STANDING: Final = frozenset({Unit.DOCUMENTS, Unit.PAGES, Unit.BYTES})


class QuotaRepository:
    """Budgets and holds on one connection of a unit of work."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def hold(
        self, hold_id: UUID, request: HoldRequest, now: datetime, announce_every: timedelta
    ) -> Hold | Refusal:
        """Set amounts aside in every budget of the subjects, or in none; limits that are stated bind from here on.

        A refusal is to be announced when the refusing budget's last announcement is older than `announce_every`.
        """
        period = Period.month_of(now)
        input_tokens = request.amount_of(HoldUnit.INPUT_TOKENS)
        output_tokens = request.amount_of(HoldUnit.OUTPUT_TOKENS)
        others = [a for a in request.amounts if a.unit not in (HoldUnit.INPUT_TOKENS, HoldUnit.OUTPUT_TOKENS)]
        query = _queries.hold_within if request.limits else _queries.hold
        row = await query(
            self._connection,
            hold_id=hold_id,
            tenant_id=request.tenant_id,
            subject_types=[Subject.TENANT, *(subject.type for subject in request.subjects)],
            subject_ids=[str(request.tenant_id), *(subject.id for subject in request.subjects)],
            kind=request.kind.value,
            provider=request.provider,
            model=request.model,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            units=[amount.unit for amount in others],
            amounts=[amount.amount for amount in others],
            now=now,
            expires_at=now + request.lease,
            period_start=period.starts_at,
            period_end=period.ends_at,
            announce_before=now - announce_every,
            **_stated(request),
        )
        if not row["refused"]:
            return Hold(hold_id, input_tokens + output_tokens, now + request.lease)
        return Refusal(
            subject_type=Subject(row["subject_type"]),
            subject_id=row["subject_id"],
            unit=Unit(row["unit"]),
            wanted=row["wanted"],
            limit=row["amount_limit"],
            used=row["used"],
            held=row["held"],
            resets_at=row["resets_at"],
            announce=row["announce"],
        )

    async def renew(self, hold_id: UUID, lease: timedelta, tokens: int | None, now: datetime) -> Hold:
        """Prolong a lease and give back what will not be used.

        Raises:
            HoldNotFound: the hold is settled, released, expired or unknown.
        """
        row = await _queries.renew(self._connection, hold_id=hold_id, tokens=tokens, expires_at=now + lease)
        if row["expires_at"] is None:
            raise HoldNotFound
        return Hold(hold_id, row["tokens"], row["expires_at"])

    async def release(self, hold_id: UUID, now: datetime) -> bool:
        """Give a hold back unused; False when it was not open."""
        released: bool = await _queries.release(self._connection, hold_id=hold_id, now=now)
        return released

    async def settle(self, hold_id: UUID, now: datetime) -> bool:
        """Count the messages and requests of a hold as used, and nothing else of it; False when it was not open."""
        settled: bool = await _queries.settle(self._connection, hold_id=hold_id, now=now)
        return settled

    async def expire(self, now: datetime, limit: int) -> int:
        """Give back holds whose lease has ended, passing over tenants that are just being counted; answers how many."""
        count: int = await _queries.expire(self._connection, now=now, batch=limit)
        return count

    async def purge(self, before: datetime, limit: int) -> int:
        """Forget holds that were closed before a moment; answers how many."""
        count: int = await _queries.purge(self._connection, before=before, batch=limit)
        return count

    async def drop_ended(self, now: datetime, limit: int) -> int:
        """Drop budgets with stated limits whose period is over; answers how many."""
        count: int = await _queries.drop_ended(self._connection, now=now, batch=limit)
        return count

    async def list_chatbots(self, tenant_id: int, now: datetime) -> dict[UUID, dict[Unit, Counter]]:
        """The budgets of a tenant's chatbots in this period."""
        resets_at = Period.month_of(now).ends_at
        found: dict[UUID, dict[Unit, Counter]] = {}
        async for row in _queries.list_chatbots(self._connection, tenant_id=tenant_id, now=now):
            counter = Counter(row["amount_limit"], row["used"], row["held"], resets_at)
            found.setdefault(UUID(row["subject_id"]), {})[Unit(row["unit"])] = counter
        return found

    async def count_open(self, now: datetime) -> tuple[int, int]:
        """Open holds, and those among them whose lease has ended."""
        row = await _queries.count_open(self._connection, now=now)
        return row["held"], row["lapsed"]

    async def open_tenant(self, tenant_id: int, now: datetime) -> None:
        """Give a tenant the default plan and its budgets unless it has them."""
        period = Period.month_of(now)
        await _queries.open_tenant(
            self._connection, tenant_id=tenant_id, period_start=period.starts_at, period_end=period.ends_at
        )

    async def set_limits(
        self,
        tenant_id: int,
        subject_type: Subject,
        subject_id: str,
        limits: Mapping[Unit, Decimal | None],
        now: datetime,
    ) -> None:
        """Set what a subject may use of each unit; None is no limit.

        Raises:
            TenantUnknown: no tenant of this id was announced or has used anything.
        """
        period = Period.month_of(now)
        if not await _queries.set_limits(
            self._connection,
            tenant_id=tenant_id,
            subject_type=subject_type.value,
            subject_id=subject_id,
            units=list(limits),
            limits=list(limits.values()),
            period_start=period.starts_at,
            period_end=period.ends_at,
            thresholds=THRESHOLDS,
        ):
            raise TenantUnknown(f"The usage service knows no tenant {tenant_id}; see the list of tenants.")

    async def budgets(self, tenant_id: int, subjects: Mapping[Subject, str], now: datetime) -> Budgets:
        """The budgets of some subjects of a tenant as they stand."""
        resets_at = Period.month_of(now).ends_at
        found: dict[Subject, dict[Unit, Counter]] = {}
        async for row in _queries.list_budgets(
            self._connection,
            tenant_id=tenant_id,
            subject_types=list(subjects),
            subject_ids=list(subjects.values()),
            now=now,
        ):
            unit = Unit(row["unit"])
            found.setdefault(Subject(row["subject_type"]), {})[unit] = Counter(
                limit=row["amount_limit"],
                used=row["used"],
                held=row["held"],
                resets_at=None if unit in _STANDING else resets_at,
            )
        return found


def _stated(request: HoldRequest) -> dict[str, Any]:
    """The arguments of `hold_within` that `hold` has not."""
    if not request.limits:
        return {}
    ids = {subject.type: subject.id for subject in request.subjects}
    return {
        "limit_types": [limit.type for limit in request.limits],
        "limit_ids": [ids[limit.type] for limit in request.limits],
        "limit_units": [limit.unit for limit in request.limits],
        "limits": [limit.amount for limit in request.limits],
        "thresholds": THRESHOLDS,
    }
