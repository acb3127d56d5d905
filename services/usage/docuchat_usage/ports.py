"""What the use cases need from the outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime, timedelta
    from decimal import Decimal
    from uuid import UUID

    from docuchat_common.events.envelope import Event
    from docuchat_common.ids import TenantId
    from docuchat_usage.domain import Booking, Hold, HoldRequest, Period, Price, Refusal, Report, Subject, Usage


class Clock(Protocol):
    """Tells the time; one reading serves a whole use case."""

    def now(self) -> datetime:
        """The current moment, aware UTC."""
        ...


class Accounts(Protocol):
    """Budgets, holds and the ledger, inside one transaction.

    `hold` and `book` answer None when the budgets they need do not exist yet or were added to while they waited;
    nothing was written then, and the caller calls `ensure` and tries again.
    """

    async def hold(
        self, hold_id: UUID, request: HoldRequest, now: datetime, announce_every: timedelta
    ) -> Hold | Refusal | None:
        """Set tokens and cost aside in every layer, or in none.

        A refusal is to be announced when the refusing subject's last announcement is older than `announce_every`.
        """
        ...

    async def book(self, usage: Usage, now: datetime) -> Booking | None:
        """Write the ledger entry, charge every layer and close the hold, once for each event."""
        ...

    async def ensure(self, tenant_id: int, user_id: UUID | None, now: datetime) -> None:
        """Create what is missing: the tenant's plan and budget, and the user's budget when the plan has one."""
        ...

    async def renew(self, hold_id: UUID, lease: timedelta, tokens: int | None, now: datetime) -> Hold:
        """Prolong a lease and give back what will not be used; a hold never grows.

        Raises:
            HoldNotFound: the hold is settled, released, expired or unknown.
        """
        ...

    async def release(self, hold_id: UUID, now: datetime) -> bool:
        """Give a hold back unused; False when it was not open."""
        ...

    async def expire(self, now: datetime, limit: int) -> int:
        """Give back holds whose lease has ended, at most `limit`; answers how many."""
        ...

    async def purge(self, before: datetime, limit: int) -> int:
        """Forget holds that were closed before a moment; answers how many."""
        ...

    async def set_limits(
        self,
        tenant_id: int,
        subject_type: Subject,
        subject_id: str,
        tokens: int | None,
        cost: Decimal | None,
        now: datetime,
    ) -> None:
        """Set what a subject may spend in a period; None leaves a unit as it is."""
        ...

    async def report(self, tenant_id: int, user_id: UUID, period: Period, now: datetime) -> Report:
        """Sums and budgets for a tenant and one of its users."""
        ...


class PriceList(Protocol):
    """Versioned prices."""

    async def add(self, price: Price) -> int:
        """Add a version of a price; answers its id.

        Raises:
            PriceExists: the same model has a price from the same moment.
            PriceInvalid: an amount is negative or too fine.
        """
        ...


class EventSink(Protocol):
    """Takes events that leave with the transaction."""

    def add(self, event: Event) -> None:
        """Publish after commit."""
        ...


class SeenEvents(Protocol):
    """Remembers which events have had their effect."""

    async def claim(self, consumer: str, event_id: UUID) -> bool:
        """True for the first claim of an event by a consumer, which stands when the transaction commits."""
        ...


class Transaction(Protocol):
    """What a unit of work offers to the use cases."""

    @property
    def accounts(self) -> Accounts:
        """Budgets, holds and the ledger."""
        ...

    @property
    def prices(self) -> PriceList:
        """Versioned prices."""
        ...

    @property
    def outbox(self) -> EventSink:
        """Events to publish after commit."""
        ...

    @property
    def inbox(self) -> SeenEvents:
        """Events that had their effect."""
        ...


class UnitOfWork(Protocol):
    """The only way to the database."""

    def __call__(self, tenant_id: TenantId) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that sees one tenant."""
        ...

    def system(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that sees every tenant, for sweeps and for ids that come without their tenant."""
        ...


class Meter(Protocol):
    """Counts what operators watch."""

    def held(self, outcome: str, subject: str | None = None) -> None:
        """A hold was granted, refused (by which layer), renewed, released or expired."""
        ...

    def booked(self, kind: str, tokens: Mapping[str, int], *, unpriced: bool) -> None:
        """A usage event was booked; `unpriced` when only the fallback price fitted."""
        ...
