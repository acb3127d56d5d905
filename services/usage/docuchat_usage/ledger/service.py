"""Use cases: book what was spent, report it at any time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog

from docuchat_common.clock import Clock
from docuchat_common.events.catalogue import QuotaThreshold
from docuchat_common.ids import TenantId
from docuchat_usage import metrics
from docuchat_usage.ledger.domain import Booking, Report, Usage
from docuchat_usage.quotas.domain import Crossing, Period, Subject
from docuchat_usage.quotas.errors import BudgetsUnsettled
from docuchat_usage.quotas.service import ATTEMPTS, again_after_deadlock, amount

if TYPE_CHECKING:
    from docuchat_common.db import UnitOfWork
    from docuchat_usage.transaction import Tx

logger = structlog.get_logger()

BOOKING_CONSUMER: Final = "usage.usage-recorded.v1"


class LedgerService:
    """Owns what was spent."""

    def __init__(self, uow: UnitOfWork[Tx], clock: Clock) -> None:
        self._uow = uow
        self._clock = clock

    @again_after_deadlock
    async def book(self, usage: Usage) -> Booking | None:
        """Book what a provider was asked for, once for each event, whatever became of its hold.

        None when the event was booked before.
        """
        now = self._clock.now()
        usage = replace(usage, occurred_at=min(usage.occurred_at, now))
        async with self._uow(TenantId(usage.tenant_id)) as tx:
            if not await tx.inbox.claim(BOOKING_CONSUMER, usage.event_id):
                return None
            booking = await _book(tx, usage, self._clock)
            for crossing in booking.crossings:
                for percent in crossing.percentages:
                    tx.outbox.add(_threshold(usage.tenant_id, crossing, percent))
        if booking.booked:
            self._report_booking(usage, booking)
        return booking

    async def report(self, tenant_id: int, user_id: UUID) -> Report:
        """What a tenant and one of its users have used, and what is left."""
        now = self._clock.now()
        period = Period.month_of(now)
        async with self._uow(TenantId(tenant_id)) as tx:
            budgets = await tx.quotas.budgets(tenant_id, user_id, period, now)
            if Subject.TENANT not in budgets:
                await tx.quotas.ensure(tenant_id, None, now)
                budgets = await tx.quotas.budgets(tenant_id, user_id, period, now)
            return await tx.ledger.report(tenant_id, user_id, period, now, budgets)

    def _report_booking(self, usage: Usage, booking: Booking) -> None:
        metrics.bookings.labels(usage.kind.value).inc()
        metrics.tokens.labels(usage.kind.value, "input").inc(usage.input_tokens)
        metrics.tokens.labels(usage.kind.value, "output").inc(usage.output_tokens)
        if booking.price_is_fallback:
            metrics.unpriced.labels(usage.kind.value).inc()
            logger.warning("price.unknown", provider=usage.provider, model=usage.model)
        logger.info(
            "usage.booked",
            tenant_id=usage.tenant_id,
            kind=usage.kind.value,
            model=usage.model,
            tokens=usage.tokens,
            cost=f"{booking.cost:f}",
            estimated=usage.estimated,
            hold=booking.hold_state.value if booking.hold_state else None,
        )


async def _book(tx: Tx, usage: Usage, clock: Clock) -> Booking:
    for _ in range(ATTEMPTS):
        booking = await tx.ledger.book(usage, clock.now())
        if booking is not None:
            return booking
        await tx.quotas.ensure(usage.tenant_id, usage.user_id, clock.now())
    raise BudgetsUnsettled(retry_after=timedelta(seconds=1))


def _threshold(tenant_id: int, crossing: Crossing, percent: int) -> QuotaThreshold:
    return QuotaThreshold(
        tenant_id=tenant_id,
        subject_type=crossing.subject_type.value,
        subject_id=crossing.subject_id,
        period_start=crossing.period_start,
        used=amount(crossing.unit, crossing.used),
        limit=amount(crossing.unit, crossing.limit),
        unit=crossing.unit.value,
        percent=percent,
    )
