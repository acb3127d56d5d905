"""Provider calls in transactions of their own, and what becomes of the calls of a process that died."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final, Protocol, TypeVar
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge

from docuchat_common.db.uow import Transactions
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.ids import TenantId
from docuchat_common.metering.bounds import Used
from docuchat_common.metering.calls import ProviderCall, event_id_of
from docuchat_common.metering.repository import ProviderCalls

logger = structlog.get_logger()

_open = Gauge("docuchat_provider_calls_open", "Provider calls of this process that are being made.", ["kind"])
_started = Gauge("docuchat_provider_calls_started", "Provider calls of all processes that are not closed.")
_unsettled = Gauge("docuchat_provider_calls_unsettled", "Ended provider calls that the database has not taken yet.")
_announced = Counter("docuchat_provider_calls_announced_again", "Settled calls that the ledger did not have.")
_COMPARED: Final = 500


class SettledCalls(Protocol):
    """Calls in a table of settled ones; each has an event, whose id derives from its own."""

    async def list_unbooked(self, patience: timedelta, limit: int) -> list[tuple[TenantId, UUID]]:
        """Calls settled, or announced again, before that, which the ledger was not seen to have; system role.

        Those whose event still waits in the outbox are left out; whoever was looked at longest ago comes first.
        """

    async def confirm_booked(self, call_ids: list[UUID]) -> None:
        """Note that the ledger has these calls; for the system role."""


class MeteredTx(Protocol):
    """A transaction of a service that calls providers."""

    @property
    def calls(self) -> ProviderCalls:
        """The provider calls of its schema."""


Tx = TypeVar("Tx")


class Ledger(Protocol):
    """The usage service's books."""

    async def known(self, event_ids: Sequence[UUID]) -> set[UUID]:
        """Which of these usage events are booked."""


class OpenCall:
    """A declared call: say what it cost, or that it cost nothing."""

    def __init__(self, call: ProviderCall) -> None:
        self.call = call
        self.outcome: Used | None = Used(call.expected_input_tokens, call.expected_output_tokens, estimated=True)
        """What to book: by default, what was expected; None for nothing."""

    def used(self, used: Used) -> None:
        """The provider answered, and this is to be booked."""
        self.outcome = used

    def void(self) -> None:
        """The provider bills nothing: the request never left, or was refused."""
        self.outcome = None


class Metering:
    """Declares, settles and takes over calls."""

    def __init__(self, transactions: Transactions[MeteredTx]) -> None:
        self._transactions = transactions
        self._late: dict[ProviderCall, Used | None] = {}

    @asynccontextmanager
    async def call(self, call: ProviderCall) -> AsyncIterator[OpenCall]:
        """Declare `call`, let the block make it, and settle it however the block ends.

        A block that says nothing is booked as expected, estimated. Raises UpstreamUnavailable when it cannot be
        declared: then it must not be made. A settlement that the database does not take now is kept for `settle_late`.
        """
        await self._declare(call)
        made = OpenCall(call)
        _open.labels(call.kind).inc()
        try:
            yield made
        finally:
            _open.labels(call.kind).dec()
            await self.close(call, made.outcome)

    async def settle_late(self) -> None:
        """Settle what the database had not taken; to be repeated in the background and once more at the end."""
        for call, used in list(self._late.items()):
            await self._close(call, used)

    async def close(self, call: ProviderCall, used: Used | None) -> None:
        """Settle a declared call, or void it when `used` is None, even while the waiting task is cancelled.

        A settlement that the database does not take now is kept for `settle_late`.
        """
        await _to_its_end(self._close(call, used))

    async def take_over(
        self, is_alive: Callable[[str], Awaitable[bool]], *, longest: timedelta = timedelta(hours=1)
    ) -> int:
        """Book the open calls of dead owners, and those open for longer than `longest`; returns how many."""
        async with self._transactions.system() as tx:
            started = await tx.calls.list_started(longest=longest)
        _started.set(len(started))
        alive = {owner: await is_alive(owner) for owner in {call.owner for call in started}}
        booked = 0
        for call in started:
            if alive[call.owner] and not call.too_old:
                continue
            async with self._transactions(call.tenant_id) as tx:
                taken = await tx.calls.settle_as_expected(call.id)
            if taken:
                booked += 1
                logger.warning("provider_call.taken_over", call_id=str(call.id), owner=call.owner)
        return booked

    async def compare_books(self, ledger: Ledger, patience: timedelta) -> int:
        """Announce settled calls again that the ledger does not have, as `compare_books` of this module."""

        async def announce(tx: MeteredTx, _: TenantId, call_id: UUID) -> bool:
            return await tx.calls.announce_again(call_id, patience)

        return await compare_books(self._transactions, ledger, patience, of=lambda tx: tx.calls, announce=announce)

    async def forget(self, older_than: timedelta) -> None:
        """Delete calls closed before that; to be repeated in the background."""
        async with self._transactions.system() as tx:
            await tx.calls.forget(older_than)

    async def _declare(self, call: ProviderCall) -> None:
        try:
            await self._declare_once(call)
        except UpstreamUnavailable:
            # the answer to the COMMIT may have been lost: repeating it changes nothing
            try:
                await self._declare_once(call)
            except UpstreamUnavailable:
                self._keep(call, None)  # should it stand there after all, it was never made
                raise

    async def _declare_once(self, call: ProviderCall) -> None:
        async with self._transactions(call.tenant_id) as tx:
            await tx.calls.declare(call)

    async def _close(self, call: ProviderCall, used: Used | None) -> None:
        try:
            async with self._transactions(call.tenant_id) as tx:
                if used is None:
                    await tx.calls.void(call.id)
                else:
                    await tx.calls.settle(call.id, used)
        except UpstreamUnavailable as error:
            self._keep(call, used)
            logger.warning("provider_call.unsettled", call_id=str(call.id), reason=error.detail)
        else:
            self._late.pop(call, None)
            _unsettled.set(len(self._late))

    def _keep(self, call: ProviderCall, used: Used | None) -> None:
        self._late[call] = used
        _unsettled.set(len(self._late))


async def compare_books(
    transactions: Transactions[Tx],
    ledger: Ledger,
    patience: timedelta,
    *,
    of: Callable[[Tx], SettledCalls],
    announce: Callable[[Tx, TenantId, UUID], Awaitable[bool]],
) -> int:
    """Announce settled calls again, under the same ids, that the ledger does not have; returns how many.

    A call is looked at once it has been settled, or announced again, for `patience`; all of them are, a bounded number
    at a time. `announce` gives False when another process was quicker.
    """
    announced, seen = 0, set[UUID]()
    while True:
        async with transactions.system() as tx:
            unbooked = await of(tx).list_unbooked(patience, _COMPARED)
        unbooked = [(tenant_id, call_id) for tenant_id, call_id in unbooked if call_id not in seen]
        if not unbooked:
            return announced
        seen.update(call_id for _, call_id in unbooked)
        known = await ledger.known([event_id_of(call_id) for _, call_id in unbooked])
        if booked := [call_id for _, call_id in unbooked if event_id_of(call_id) in known]:
            async with transactions.system() as tx:
                await of(tx).confirm_booked(booked)
        for tenant_id, call_id in unbooked:
            if event_id_of(call_id) not in known:
                announced += await _announced_again(transactions, announce, tenant_id, call_id)


async def _announced_again(
    transactions: Transactions[Tx],
    announce: Callable[[Tx, TenantId, UUID], Awaitable[bool]],
    tenant_id: TenantId,
    call_id: UUID,
) -> bool:
    async with transactions(tenant_id) as tx:
        is_lost = await announce(tx, tenant_id, call_id)
    if is_lost:
        _announced.inc()
        logger.warning("provider_call.announced_again", call_id=str(call_id))
    return is_lost


async def _to_its_end(work: "asyncio.Future[None] | Awaitable[None]") -> None:
    """Wait for `work` even when the waiting task is cancelled meanwhile, and then be cancelled."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()
