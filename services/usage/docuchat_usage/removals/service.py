"""Use case: count a removed user no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from docuchat_common.clock import Clock
from docuchat_common.removals import RemovedUser

if TYPE_CHECKING:
    from docuchat_common.db import UnitOfWork
    from docuchat_usage.transaction import Tx

logger = structlog.get_logger()

_AT_ONCE: Final = 100
_KEPT: Final = {
    "ledger": "what was used and what it cost, by ids that lead to nobody, for LEDGER_RETENTION",
    "holds": "what was reserved, by the same ids, until it is booked",
    "usage stream": "ids and amounts for the platform's own books, for USAGE_STREAM_MAX_AGE",
    "removed_users": "that who is gone stays so, by ids, for 30 days",
}


class Removals:
    """Takes who is gone out of the counts. The ledger stays: it has ids, and no names."""

    def __init__(self, uow: UnitOfWork[Tx], clock: Clock) -> None:
        self._uow = uow
        self._clock = clock

    async def settle(self, who: RemovedUser) -> None:
        """Remember who is gone, and count it no more; once more changes nothing."""
        async with self._uow(who.tenant_id) as tx:
            await tx.legacies.removed.remember(who)
            heir = await tx.legacies.removed.find_heir(who)
            budgets = await tx.legacies.remove(who, heir, self._clock.now())
            await tx.requests.forget_subjects(who.tenant_id, who.subjects)
            await tx.legacies.removed.count(who, budgets=budgets)
            if (told := await tx.legacies.removed.finish(who, "usage", _KEPT)) is not None:
                tx.outbox.add(told)
        logger.info("user.counts_settled", tenant_id=who.tenant_id, user_id=str(who.user_id), budgets=budgets)

    async def sweep(self) -> None:
        """Settle what was counted after its user was gone, and forget who has been gone for long."""
        async with self._uow.system() as tx:
            await tx.legacies.removed.forget()
            left = await tx.legacies.list_left(_AT_ONCE)
        for who in left:
            await self.settle(who)
