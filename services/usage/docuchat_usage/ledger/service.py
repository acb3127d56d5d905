"""Use cases: book what was spent, report it at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog

from docuchat_common.clock import Clock
from docuchat_common.contracts.prices import OWN
from docuchat_common.events.catalogue import QuotaThreshold
from docuchat_common.http.caller import Caller
from docuchat_common.ids import TenantId
from docuchat_usage import metrics
from docuchat_usage.ledger.domain import MOST_TOKENS, Booking, Report, Usage
from docuchat_usage.ledger.errors import UsageAbsurd
from docuchat_usage.quotas.domain import Crossing, HoldState, Subject
from docuchat_usage.quotas.service import ANNOUNCED_SUBJECTS

if TYPE_CHECKING:
    from docuchat_common.db import UnitOfWork
    from docuchat_usage.transaction import Tx

logger = structlog.get_logger()

_FORGET_BATCH: Final = 5000
_KEEP_HOURS: Final = timedelta(days=9)


class LedgerService:
    """Owns what was spent."""

    def __init__(self, uow: UnitOfWork[Tx], clock: Clock, keep_entries: timedelta = timedelta(days=400)) -> None:
        self._uow = uow
        self._clock = clock
        self._keep_entries = keep_entries

    async def book(self, usages: Sequence[Usage]) -> tuple[Booking, ...]:
        """Book what providers were asked for, once for each event, whatever became of its hold; all or nothing.

        Returns the new entries: an event that was booked before has none.

        Raises:
            UsageAbsurd: one says more tokens than a call can have.
            EntryMissing: one corrects an entry that is not there yet.
        """
        now = self._clock.now()
        for usage in usages:
            _check(usage)
        told = [usage if usage.occurred_at <= now else replace(usage, occurred_at=now) for usage in usages]
        # across tenants, so with the system role; the function takes the tenants' turns in order
        async with self._uow.system() as tx:
            booked = await tx.ledger.book(told, now)
            for crossing in booked.crossings:
                if crossing.subject_type in ANNOUNCED_SUBJECTS:
                    for percent in crossing.percentages:
                        tx.outbox.add(_threshold(crossing, percent))
        _report_bookings({usage.event_id: usage for usage in usages}, booked.entries)
        return booked.entries

    async def report(self, caller: Caller) -> Report:
        """What a tenant and the caller in it have used, and what is left."""
        now = self._clock.now()
        subjects = {Subject.TENANT: str(caller.tenant_id)}
        subjects |= {Subject(kind): str(subject) for kind, subject in caller.subjects}
        async with self._uow(caller.tenant_id) as tx:
            budgets = await tx.quotas.budgets(caller.tenant_id, subjects, now)
            if Subject.TENANT not in budgets:
                await tx.quotas.open_tenant(caller.tenant_id, now)
                budgets = await tx.quotas.budgets(caller.tenant_id, subjects, now)
            report = await tx.ledger.report(caller.tenant_id, caller.user_id or caller.owner_id, now, budgets)
            return replace(report, by_chatbot=await tx.quotas.list_chatbots(caller.tenant_id, now))

    async def list_booked(self, event_ids: Sequence[UUID]) -> list[UUID]:
        """Those of some usage events that have an entry, so that whoever published them can tell what was lost."""
        async with self._uow.system() as tx:
            return await tx.ledger.list_booked(event_ids)

    async def forget(self) -> int:
        """Forget entries and hourly sums that are older than they are kept; answers how many entries."""
        now = self._clock.now()
        forgotten = 0
        while True:
            async with self._uow.system() as tx:
                count = await tx.ledger.forget(now - self._keep_entries, _FORGET_BATCH)
                await tx.ledger.forget_hours(now - _KEEP_HOURS)
            forgotten += count
            if count < _FORGET_BATCH:
                return forgotten


def _check(usage: Usage) -> None:
    if usage.tokens > MOST_TOKENS:
        metrics.anomalies.labels(usage.kind.value).inc()
        logger.error(
            "usage.absurd",
            event_id=str(usage.event_id),
            tenant_id=usage.tenant_id,
            provider=usage.provider,
            model=usage.model,
            tokens=usage.tokens,
        )
        raise UsageAbsurd(f"A usage event reports {usage.tokens} tokens in one call; it is not booked.")


def _report_bookings(usages: Mapping[UUID, Usage], entries: Sequence[Booking]) -> None:
    for booking in entries:
        usage = usages[booking.event_id]
        metrics.bookings.labels(usage.kind.value).inc()
        metrics.tokens.labels(usage.kind.value, "input").inc(usage.input_tokens)
        metrics.tokens.labels(usage.kind.value, "output").inc(usage.output_tokens)
        metrics.cost.labels(usage.kind.value).inc(max(float(booking.cost), 0))
        if booking.price_is_fallback and not usage.provider.startswith(OWN):  # whose price nobody owes us
            metrics.unpriced.labels(usage.kind.value).inc()
            logger.warning("price.unknown", provider=usage.provider, model=usage.model)
    if entries:
        logger.info(
            "usage.booked",
            events=len(entries),
            again=len(usages) - len(entries),
            tokens=sum(usages[booking.event_id].tokens for booking in entries),
            cost=f"{sum(booking.cost for booking in entries):f}",
            late=sum(booking.hold_state not in (HoldState.HELD, None) for booking in entries),
        )


def _threshold(crossing: Crossing, percent: int) -> QuotaThreshold:
    facts: dict[str, Any] = {"subject_type": crossing.subject_type.value, "unit": crossing.unit.value}
    return QuotaThreshold(
        tenant_id=TenantId(crossing.tenant_id),
        subject_id=crossing.subject_id,
        period_start=crossing.period_start,
        used=crossing.unit.text(crossing.used),
        limit=crossing.unit.text(crossing.limit),
        percent=percent,
        used_amount=crossing.unit.number(crossing.used),
        limit_amount=crossing.unit.number(crossing.limit),
        **facts,
    )
