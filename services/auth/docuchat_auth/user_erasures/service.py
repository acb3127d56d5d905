"""Use cases: erase a person, and say what became of what was kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from docuchat_auth.audit.service import AuditLog
from docuchat_auth.lifecycle.domain import Part
from docuchat_auth.members.service import Members
from docuchat_auth.user_erasures.domain import KEPT, OpenErasure, UserReceipt
from docuchat_auth.user_erasures.errors import ErasureNotFound
from docuchat_auth.users.domain import User
from docuchat_common.clock import Clock
from docuchat_common.events.catalogue import UserErased
from docuchat_common.http.caller import Caller
from docuchat_common.idempotency import Settle, without_key
from docuchat_common.ids import TenantId, UserId
from docuchat_common.removals import RemovedUser

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()


class UserErasures:
    """Removes a user as `Members` does, and what a removal leaves; each service says what it erased."""

    def __init__(self, uow: UnitOfWork[Tx], members: Members, audit: AuditLog, clock: Clock) -> None:
        self._uow = uow
        self._members = members
        self._audit = audit
        self._clock = clock

    async def erase(
        self, by: Caller, user_id: UserId, hand_over_to: UserId | None, settle: Settle[UserReceipt] = without_key
    ) -> UserReceipt:
        """Erase a user of the caller's tenant; the receipt as far as it goes.

        Raises UserNotFound, OwnersOnly, LastOwner, InvalidHandOver.
        """
        tenant_id = by.tenant_id
        receipt = UserReceipt(tenant_id, user_id, self._clock.now(), None, {})

        async def note(tx: Tx, user: User, gone: RemovedUser, keys: int) -> None:
            erased = await tx.user_receipts.count_rows(tenant_id, user_id) | {"keys": keys}
            if user.email is not None:
                erased["invitations"] = await tx.invitations.delete_of(tenant_id, user.email)
            await tx.requests.forget_about(tenant_id, user_id)
            counted = {name: amount for name, amount in erased.items() if amount}
            await tx.user_receipts.add(tenant_id, user_id, gone.key_ids, receipt.begun_at, counted)
            await settle(tx, receipt)

        await self._members.remove(tenant_id, user_id, by, hand_over_to=hand_over_to, erase=note)
        return receipt

    async def get_receipt(self, tenant_id: TenantId, user_id: UserId) -> UserReceipt:
        """What became of an erased user. Raises ErasureNotFound."""
        async with self._uow(tenant_id) as tx:
            found = await tx.user_receipts.find(tenant_id, user_id)
        if found is None:
            raise ErasureNotFound
        return found

    async def note(self, event: UserErased) -> None:
        """Add to a receipt what a service erased."""
        async with self._uow.system() as tx:
            await self._note(tx, event)

    async def go_on(self) -> None:
        """Take the addresses of erased users out of the log, and say what auth has erased."""
        async with self._uow.system() as tx:
            waiting = await tx.user_receipts.list_open()
        for one in waiting:
            await self._finish(one)

    async def _finish(self, one: OpenErasure) -> None:
        await self._audit.strip_person(one.tenant_id, one.user_id)
        async with self._uow.system() as tx:
            erased = await tx.user_receipts.find_erased(one)
            told = UserErased(tenant_id=one.tenant_id, user_id=one.user_id, service="auth", erased=erased, kept=KEPT)
            if await self._note(tx, told):
                tx.outbox.add(told)
        logger.info("user.erased", tenant_id=one.tenant_id, user_id=str(one.user_id))

    async def _note(self, tx: Tx, event: UserErased) -> bool:
        part = Part(event.time, event.erased, event.kept)
        place = (TenantId(event.tenant_id), UserId(event.user_id))
        return await tx.user_receipts.note(*place, event.service, part, self._clock.now())
