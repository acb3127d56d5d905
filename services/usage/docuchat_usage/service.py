"""Use cases: hold before a provider is called, book afterwards, report at any time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

import structlog

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import QuotaExceeded, QuotaThreshold
from docuchat_common.ids import TenantId, uuid7
from docuchat_usage.domain import Period, Refusal, Subject, Unit
from docuchat_usage.errors import BudgetExhausted, BudgetsUnsettled

if TYPE_CHECKING:
    from decimal import Decimal
    from uuid import UUID

    from docuchat_usage.domain import Booking, Crossing, Hold, HoldRequest, Price, Report, Usage
    from docuchat_usage.ports import Clock, Meter, Transaction, UnitOfWork

logger = structlog.get_logger()

BOOKING_CONSUMER: Final = "usage.usage-recorded.v1"
_ATTEMPTS: Final = 5
_DEADLOCKED: Final = "deadlocked"  # docuchat_common.db.Deadlocked.code; use cases know no database
_DEADLOCK_REPEATS: Final = 5

P = ParamSpec("P")
T = TypeVar("T")
_SWEEP_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Policy:
    """How often things are said, and how long they are kept."""

    announce_refusals_every: timedelta = timedelta(hours=1)
    keep_closed_holds: timedelta = timedelta(days=7)


def _again_after_deadlock(
    method: Callable[Concatenate[UsageService, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[UsageService, P], Coroutine[Any, Any, T]]:
    """Repeat a use case that Postgres rolled back, whole, as the victim of a deadlock."""

    @functools.wraps(method)
    async def repeated(self: UsageService, /, *args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(_DEADLOCK_REPEATS):
            try:
                return await method(self, *args, **kwargs)
            except UpstreamUnavailable as error:
                if error.code != _DEADLOCKED:
                    raise
        return await method(self, *args, **kwargs)

    return repeated


class UsageService:
    """Owns what every tenant, chatbot, key and user may spend."""

    def __init__(self, uow: UnitOfWork, clock: Clock, meter: Meter, policy: Policy) -> None:
        self._uow = uow
        self._clock = clock
        self._meter = meter
        self._policy = policy

    @_again_after_deadlock
    async def hold(self, request: HoldRequest) -> Hold:
        """Set aside the most that a call can use; it counts until it is settled, released, or its lease ends.

        Raises:
            BudgetExhausted: it does not fit in a budget; nothing is held in any.
        """
        now = self._clock.now()
        hold_id = uuid7()
        for _ in range(_ATTEMPTS):
            async with self._uow(TenantId(request.tenant_id)) as tx:
                outcome = await tx.accounts.hold(hold_id, request, now, self._policy.announce_refusals_every)
                if outcome is None:
                    await tx.accounts.ensure(request.tenant_id, request.user_id, now)
                    outcome = await tx.accounts.hold(hold_id, request, now, self._policy.announce_refusals_every)
                if isinstance(outcome, Refusal) and outcome.announce:
                    tx.outbox.add(_exceeded(request.tenant_id, outcome))
            if isinstance(outcome, Refusal):
                self._meter.held("refused", outcome.subject_type)
                logger.info(
                    "hold.refused", tenant_id=request.tenant_id, layer=outcome.subject_type, unit=outcome.unit.value
                )
                raise _exhausted(outcome, outcome.retry_after(now, request.lease))
            if outcome is not None:
                self._meter.held("granted")
                return outcome
        raise BudgetsUnsettled(retry_after=timedelta(seconds=1))

    @_again_after_deadlock
    async def renew(self, hold_id: UUID, lease: timedelta, tokens: int | None) -> Hold:
        """Prolong the lease of a hold, and shrink it to what the call can still use.

        Raises:
            HoldNotFound: the hold is not open any more.
        """
        async with self._uow.system() as tx:
            hold = await tx.accounts.renew(hold_id, lease, tokens, self._clock.now())
        self._meter.held("renewed")
        return hold

    @_again_after_deadlock
    async def release(self, hold_id: UUID) -> None:
        """Give a hold back of which nothing was used; giving it back again changes nothing."""
        async with self._uow.system() as tx:
            released = await tx.accounts.release(hold_id, self._clock.now())
        if released:
            self._meter.held("released")

    @_again_after_deadlock
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

    @_again_after_deadlock
    async def open_tenant(self, tenant_id: int) -> None:
        """Give a new tenant the default plan and its budget."""
        async with self._uow(TenantId(tenant_id)) as tx:
            await tx.accounts.ensure(tenant_id, None, self._clock.now())

    @_again_after_deadlock
    async def sweep(self) -> int:
        """Give back every hold whose lease has ended; answers how many."""
        expired = 0
        while True:
            async with self._uow.system() as tx:
                count = await tx.accounts.expire(self._clock.now(), _SWEEP_BATCH)
            expired += count
            for _ in range(count):
                self._meter.held("expired")
            if count < _SWEEP_BATCH:
                break
        if expired:
            logger.info("holds.expired", count=expired)
        return expired

    async def purge(self) -> int:
        """Forget holds that were closed long ago; answers how many."""
        before = self._clock.now() - self._policy.keep_closed_holds
        purged = 0
        while True:
            async with self._uow.system() as tx:
                count = await tx.accounts.purge(before, _SWEEP_BATCH)
            purged += count
            if count < _SWEEP_BATCH:
                return purged

    async def report(self, tenant_id: int, user_id: UUID) -> Report:
        """What a tenant and one of its users have used, and what is left."""
        now = self._clock.now()
        period = Period.month_of(now)
        async with self._uow(TenantId(tenant_id)) as tx:
            report = await tx.accounts.report(tenant_id, user_id, period, now)
            if report.budget is None:
                await tx.accounts.ensure(tenant_id, None, now)
                report = await tx.accounts.report(tenant_id, user_id, period, now)
        return report

    @_again_after_deadlock
    async def set_quota(self, tenant_id: int, user_id: UUID | None, tokens: int | None, cost: Decimal | None) -> None:
        """Set what a tenant, or one of its users, may spend in a month; None leaves a unit as it is."""
        subject = Subject.TENANT if user_id is None else Subject.USER
        subject_id = str(tenant_id if user_id is None else user_id)
        async with self._uow(TenantId(tenant_id)) as tx:
            await tx.accounts.set_limits(tenant_id, subject, subject_id, tokens, cost, self._clock.now())
        logger.info("quota.set", tenant_id=tenant_id, subject_type=subject.value, subject_id=subject_id)

    async def set_price(self, price: Price) -> int:
        """Add a version of a price; answers its id.

        Raises:
            PriceExists: the same model has a price from the same moment.
            PriceInvalid: an amount is negative or too large.
        """
        async with self._uow.system() as tx:
            price_id = await tx.prices.add(price)
        logger.info("price.added", price_id=price_id, provider=price.provider, model=price.model)
        return price_id

    def _report_booking(self, usage: Usage, booking: Booking) -> None:
        kinds = {"input": usage.input_tokens, "output": usage.output_tokens}
        self._meter.booked(usage.kind.value, kinds, unpriced=booking.price_is_fallback)
        if booking.price_is_fallback:
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


async def _book(tx: Transaction, usage: Usage, clock: Clock) -> Booking:
    for _ in range(_ATTEMPTS):
        booking = await tx.accounts.book(usage, clock.now())
        if booking is not None:
            return booking
        await tx.accounts.ensure(usage.tenant_id, usage.user_id, clock.now())
    raise BudgetsUnsettled(retry_after=timedelta(seconds=1))


def amount(unit: Unit, value: Decimal) -> str:
    """An amount as it is shown: whole tokens, or an exact decimal without trailing zeros."""
    return str(int(value)) if unit is Unit.TOKENS else f"{value.normalize():f}"


def _exhausted(refusal: Refusal, retry_after: timedelta) -> BudgetExhausted:
    return BudgetExhausted(
        f"The {refusal.unit.value} budget of this {refusal.subject_type.value} does not allow this request; "
        f"it is reset at {refusal.resets_at.isoformat()}.",
        retry_after=retry_after,
        resets_at=refusal.resets_at.isoformat(),
        layer=refusal.subject_type.value,
        subject_id=refusal.subject_id,
        unit=refusal.unit.value,
        limit=amount(refusal.unit, refusal.limit),
        used=amount(refusal.unit, refusal.used),
        held=amount(refusal.unit, refusal.held),
        remaining=amount(refusal.unit, refusal.remaining),
    )


def _exceeded(tenant_id: int, refusal: Refusal) -> QuotaExceeded:
    return QuotaExceeded(
        tenant_id=tenant_id,
        subject_type=refusal.subject_type.value,
        subject_id=refusal.subject_id,
        used=amount(refusal.unit, refusal.used),
        limit=amount(refusal.unit, refusal.limit),
        unit=refusal.unit.value,
        resets_at=refusal.resets_at,
    )


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
