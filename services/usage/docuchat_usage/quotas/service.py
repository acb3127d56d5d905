"""Use cases: hold before something is used, renew, release, sweep; set what may be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog

from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.contracts.holds import BudgetBusy, DemoLimitReached, HoldRequest
from docuchat_common.errors import QuotaExceeded
from docuchat_common.events import catalogue
from docuchat_common.ids import TenantId, uuid7
from docuchat_usage import metrics
from docuchat_usage.quotas.domain import DEMO_SUBJECTS, Budgets, Hold, Refusal, Subject, Unit
from docuchat_usage.quotas.errors import TenantUnknown

if TYPE_CHECKING:
    from docuchat_common.db import UnitOfWork
    from docuchat_common.http.caller import Caller
    from docuchat_usage.transaction import Tx

logger = structlog.get_logger()

_SWEEP_BATCH: Final = 500
_BUSY_PAUSE: Final = timedelta(seconds=5)
ANNOUNCED_UNITS: Final = frozenset({Unit.TOKENS, Unit.COST})
ANNOUNCED_SUBJECTS: Final = frozenset(Subject) - DEMO_SUBJECTS


@dataclass(frozen=True, slots=True)
class Policy:
    """How often things are said, and how long they are kept."""

    announce_refusals_every: timedelta = timedelta(hours=1)
    keep_closed_holds: timedelta = timedelta(days=7)


class QuotaService:
    """Owns what every tenant, chatbot, key, user and visitor may use."""

    def __init__(self, uow: UnitOfWork[Tx], clock: Clock, policy: Policy) -> None:
        self._uow = uow
        self._clock = clock
        self._policy = policy

    async def hold(self, request: HoldRequest) -> Hold:
        """Set aside the most that an action can use; it counts until it is settled, released, or its lease ends.

        Raises:
            QuotaExceeded: it does not fit in what a budget has left of its period; nothing is held in any.
            DemoLimitReached: the messages of a chatbot's visitors have no room, be they used or held.
            BudgetBusy: it would fit if other holds were settled.
        """
        now = self._clock.now()
        async with self._uow(TenantId(request.tenant_id)) as tx:
            outcome = await tx.quotas.hold(uuid7(), request, now, self._policy.announce_refusals_every)
            if isinstance(outcome, Refusal) and _is_announced(outcome):
                tx.outbox.add(_exceeded(request.tenant_id, outcome))
        if isinstance(outcome, Hold):
            metrics.holds.labels("granted", "").inc()
            return outcome
        metrics.holds.labels("busy" if outcome.is_busy else "refused", outcome.subject_type).inc()
        logger.info(
            "hold.refused",
            tenant_id=request.tenant_id,
            layer=outcome.subject_type,
            unit=outcome.unit.value,
            busy=outcome.is_busy,
        )
        raise _refused(outcome, now)

    async def renew(self, hold_id: UUID, lease: timedelta, tokens: int | None) -> Hold:
        """Prolong the lease of a hold, and shrink it to what the action can still use.

        Raises:
            HoldNotFound: the hold is not open any more.
        """
        async with self._uow.system() as tx:
            hold = await tx.quotas.renew(hold_id, lease, tokens, self._clock.now())
        metrics.holds.labels("renewed", "").inc()
        return hold

    async def release(self, hold_id: UUID) -> None:
        """Give an unused hold back; giving it back again changes nothing."""
        async with self._uow.system() as tx:
            released = await tx.quotas.release(hold_id, self._clock.now())
        if released:
            metrics.holds.labels("released", "").inc()

    async def settle(self, hold_id: UUID) -> None:
        """Count messages and requests of an open hold as used, and give the rest back; again changes nothing."""
        async with self._uow.system() as tx:
            settled = await tx.quotas.settle(hold_id, self._clock.now())
        if settled:
            metrics.holds.labels("settled", "").inc()

    async def open_tenant(self, tenant_id: int) -> None:
        """Give a new tenant the default plan and its budgets."""
        async with self._uow(TenantId(tenant_id)) as tx:
            await tx.quotas.open_tenant(tenant_id, self._clock.now())

    async def sweep(self) -> int:
        """Give back every hold whose lease has ended; answers how many."""
        expired = 0
        while True:
            async with self._uow.system() as tx:
                count = await tx.quotas.expire(self._clock.now(), _SWEEP_BATCH)
                held, lapsed = await tx.quotas.count_open(self._clock.now())
            expired += count
            metrics.holds.labels("expired", "").inc(count)
            if count < _SWEEP_BATCH:
                break
        metrics.open_holds.labels("held").set(held - lapsed)
        metrics.open_holds.labels("lapsed").set(lapsed)
        if expired:
            logger.info("holds.expired", count=expired)
        return expired

    async def purge(self) -> int:
        """Forget holds that were closed long ago, and budgets of a period that is over; answers how many holds."""
        before = self._clock.now() - self._policy.keep_closed_holds
        while True:
            async with self._uow.system() as tx:
                if await tx.quotas.drop_ended(self._clock.now(), _SWEEP_BATCH) < _SWEEP_BATCH:
                    break
        purged = 0
        while True:
            async with self._uow.system() as tx:
                count = await tx.quotas.purge(before, _SWEEP_BATCH)
            purged += count
            if count < _SWEEP_BATCH:
                return purged

    async def get_quota(self, tenant_id: int, user_id: UUID | None) -> Budgets:
        """The budgets of a tenant and, where given, of one of its users.

        Raises:
            TenantUnknown: no tenant of this id was announced or has used anything.
        """
        subjects = {Subject.TENANT: str(tenant_id)} | ({} if user_id is None else {Subject.USER: str(user_id)})
        async with self._uow(TenantId(tenant_id)) as tx:
            budgets = await tx.quotas.budgets(tenant_id, subjects, self._clock.now())
        if not budgets:
            raise TenantUnknown(f"The usage service knows no tenant {tenant_id}; see the list of tenants.")
        return budgets

    async def set_quota(
        self,
        tenant_id: int,
        user_id: UUID | None,
        limits: Mapping[Unit, Decimal | int | None],
        *,
        by: Caller | None = None,
    ) -> None:
        """Set what a tenant, or one of its users, may use of each unit; None is no limit.

        Raises:
            TenantUnknown: no tenant of this id was announced or has used anything.
        """
        subject = Subject.TENANT if user_id is None else Subject.USER
        subject_id = str(tenant_id if user_id is None else user_id)
        exact = {unit: None if limit is None else Decimal(limit) for unit, limit in limits.items()}
        async with self._uow(TenantId(tenant_id)) as tx:
            await tx.quotas.set_limits(tenant_id, subject, subject_id, exact, self._clock.now())
            detail = ", ".join(f"{unit.value} {limit}" for unit, limit in sorted(limits.items()))
            of = TenantId(tenant_id)
            act = entry(by, "quota.set", subject_id, object_type=subject.value, tenant_id=of, detail=detail)
            tx.outbox.add(act)
        logger.info("quota.set", tenant_id=tenant_id, subject_type=subject.value, subject_id=subject_id)


def _is_announced(refusal: Refusal) -> bool:
    return refusal.announce and refusal.unit in ANNOUNCED_UNITS and refusal.subject_type in ANNOUNCED_SUBJECTS


def _refused(refusal: Refusal, now: datetime) -> BudgetBusy | QuotaExceeded:
    unit, owner = refusal.unit, refusal.subject_type.layer
    facts: dict[str, Any] = {
        "layer": owner,
        "subject_id": refusal.subject_id,
        "unit": unit.value,
        "limit": unit.number(refusal.limit),
        "used": unit.number(refusal.used),
        "held": unit.number(refusal.held),
        "remaining": unit.number(refusal.remaining),
        "resets_at": None if refusal.resets_at is None else refusal.resets_at.isoformat(),
    }
    if refusal.is_demo:
        wait = _BUSY_PAUSE if refusal.is_busy else _until(refusal.resets_at, now)
        return DemoLimitReached(retry_after=wait, **facts)
    if refusal.is_busy:
        return BudgetBusy(
            f"Requests that are running hold what is left of the {unit.value} of this {owner}; try again shortly.",
            retry_after=_BUSY_PAUSE,
            **facts,
        )
    if refusal.resets_at is None:
        detail = f"The {unit.value} of this {owner} are used up; delete documents, or ask for a higher limit."
        return QuotaExceeded(detail, **facts)
    return QuotaExceeded(
        f"The {unit.value} budget of this {owner} does not allow this request; it is reset at {facts['resets_at']}.",
        retry_after=_until(refusal.resets_at, now),
        **facts,
    )


def _until(moment: datetime | None, now: datetime) -> timedelta:
    return max((moment or now) - now, timedelta(seconds=1))


def _exceeded(tenant_id: int, refusal: Refusal) -> catalogue.QuotaExceeded:
    assert refusal.resets_at is not None  # what is announced has a period
    facts: dict[str, Any] = {"subject_type": refusal.subject_type.value, "unit": refusal.unit.value}
    return catalogue.QuotaExceeded(
        tenant_id=tenant_id,
        subject_id=refusal.subject_id,
        used=refusal.unit.text(refusal.used),
        limit=refusal.unit.text(refusal.limit),
        resets_at=refusal.resets_at,
        used_amount=refusal.unit.number(refusal.used),
        limit_amount=refusal.unit.number(refusal.limit),
        **facts,
    )
