"""Use cases: hold before something is spent, renew, release, sweep; set what may be spent."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar
from uuid import UUID

import structlog

from docuchat_common.clock import Clock
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import QuotaExceeded
from docuchat_common.ids import TenantId, uuid7
from docuchat_usage import metrics
from docuchat_usage.quotas.domain import Hold, HoldRequest, Refusal, Subject, Unit
from docuchat_usage.quotas.errors import BudgetExhausted, BudgetsUnsettled

if TYPE_CHECKING:
    from docuchat_common.db import UnitOfWork
    from docuchat_usage.transaction import Tx

logger = structlog.get_logger()

ATTEMPTS: Final = 5
_DEADLOCKED: Final = "deadlocked"  # docuchat_common.db.Deadlocked.code; use cases know no database
_DEADLOCK_REPEATS: Final = 5
_SWEEP_BATCH: Final = 500

S = TypeVar("S")
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Policy:
    """How often things are said, and how long they are kept."""

    announce_refusals_every: timedelta = timedelta(hours=1)
    keep_closed_holds: timedelta = timedelta(days=7)


def again_after_deadlock(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Repeat a use case that Postgres rolled back, whole, as the victim of a deadlock."""

    @functools.wraps(method)
    async def repeated(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(_DEADLOCK_REPEATS):
            try:
                return await method(self, *args, **kwargs)
            except UpstreamUnavailable as error:
                if error.code != _DEADLOCKED:
                    raise
        return await method(self, *args, **kwargs)

    return repeated


class QuotaService:
    """Owns what every tenant, chatbot, key and user may spend."""

    def __init__(self, uow: UnitOfWork[Tx], clock: Clock, policy: Policy) -> None:
        self._uow = uow
        self._clock = clock
        self._policy = policy

    @again_after_deadlock
    async def hold(self, request: HoldRequest) -> Hold:
        """Set aside the most that a call can use; it counts until it is settled, released, or its lease ends.

        Raises:
            BudgetExhausted: it does not fit in a budget; nothing is held in any.
        """
        now = self._clock.now()
        hold_id = uuid7()
        for _ in range(ATTEMPTS):
            async with self._uow(TenantId(request.tenant_id)) as tx:
                outcome = await tx.quotas.hold(hold_id, request, now, self._policy.announce_refusals_every)
                if outcome is None:
                    await tx.quotas.ensure(request.tenant_id, request.user_id, now)
                    outcome = await tx.quotas.hold(hold_id, request, now, self._policy.announce_refusals_every)
                if isinstance(outcome, Refusal) and outcome.announce:
                    tx.outbox.add(_exceeded(request.tenant_id, outcome))
            if isinstance(outcome, Refusal):
                metrics.holds.labels("refused", outcome.subject_type).inc()
                logger.info(
                    "hold.refused", tenant_id=request.tenant_id, layer=outcome.subject_type, unit=outcome.unit.value
                )
                raise _exhausted(outcome, outcome.retry_after(now, request.lease))
            if outcome is not None:
                metrics.holds.labels("granted", "").inc()
                return outcome
        raise BudgetsUnsettled(retry_after=timedelta(seconds=1))

    @again_after_deadlock
    async def renew(self, hold_id: UUID, lease: timedelta, tokens: int | None) -> Hold:
        """Prolong the lease of a hold, and shrink it to what the call can still use.

        Raises:
            HoldNotFound: the hold is not open any more.
        """
        async with self._uow.system() as tx:
            hold = await tx.quotas.renew(hold_id, lease, tokens, self._clock.now())
        metrics.holds.labels("renewed", "").inc()
        return hold

    @again_after_deadlock
    async def release(self, hold_id: UUID) -> None:
        """Give a hold back of which nothing was used; giving it back again changes nothing."""
        async with self._uow.system() as tx:
            released = await tx.quotas.release(hold_id, self._clock.now())
        if released:
            metrics.holds.labels("released", "").inc()

    @again_after_deadlock
    async def open_tenant(self, tenant_id: int) -> None:
        """Give a new tenant the default plan and its budget."""
        async with self._uow(TenantId(tenant_id)) as tx:
            await tx.quotas.ensure(tenant_id, None, self._clock.now())

    @again_after_deadlock
    async def sweep(self) -> int:
        """Give back every hold whose lease has ended; answers how many."""
        expired = 0
        while True:
            async with self._uow.system() as tx:
                count = await tx.quotas.expire(self._clock.now(), _SWEEP_BATCH)
            expired += count
            metrics.holds.labels("expired", "").inc(count)
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
                count = await tx.quotas.purge(before, _SWEEP_BATCH)
            purged += count
            if count < _SWEEP_BATCH:
                return purged

    @again_after_deadlock
    async def set_quota(self, tenant_id: int, user_id: UUID | None, tokens: int | None, cost: Decimal | None) -> None:
        """Set what a tenant, or one of its users, may spend in a month; None leaves a unit as it is."""
        subject = Subject.TENANT if user_id is None else Subject.USER
        subject_id = str(tenant_id if user_id is None else user_id)
        async with self._uow(TenantId(tenant_id)) as tx:
            await tx.quotas.set_limits(tenant_id, subject, subject_id, tokens, cost, self._clock.now())
        logger.info("quota.set", tenant_id=tenant_id, subject_type=subject.value, subject_id=subject_id)


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
