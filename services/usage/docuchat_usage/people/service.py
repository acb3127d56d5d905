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


class People:
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
        logger.info("user.counts_settled", tenant_id=who.tenant_id, user_id=str(who.user_id), budgets=budgets)

    async def sweep(self) -> None:
        """Settle what was counted after its user was gone, and forget who has been gone for long."""
        async with self._uow.system() as tx:
            await tx.legacies.removed.forget()
            left = await tx.legacies.list_left(_AT_ONCE)
        for who in left:
            await self.settle(who)
