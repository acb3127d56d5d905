"""A tenant's settings, as its admins change them, and its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from docuchat_auth.domains.service import require_proven
from docuchat_auth.lifecycle.domain import OwnersNotice, Part, Receipt, SettingsChange
from docuchat_auth.lifecycle.errors import (
    ErasureBegun,
    OperatorsOpen,
    ReceiptNotFound,
    SlugMismatch,
)
from docuchat_auth.lifecycle.ports import ReceiptMailer
from docuchat_auth.mail import MailBacklog
from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.members.service import owns
from docuchat_auth.revisions.service import Revisions
from docuchat_auth.tenants.domain import Retention, SignUp, SignUpMode, Tenant, parse_tenant_reference
from docuchat_auth.tenants.errors import TenantNotFound
from docuchat_auth.users.service import require_still
from docuchat_common.acts import excuse_act
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.errors import DocuChatError
from docuchat_common.events.catalogue import TenantDeleted, TenantErased, TenantSettings
from docuchat_common.http.caller import Caller
from docuchat_common.http.sign_ins import require_recent
from docuchat_common.ids import TenantId

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()

_MAIL_AGAIN: Final = timedelta(hours=1)
_MAIL_FOR: Final = timedelta(days=5)
"""After that a receipt is given up whose owner no mail server knows; operators have it."""


class Notices:
    """Tells owners by mail what is to be erased, while that can be taken back."""

    def __init__(self, uow: UnitOfWork[Tx], hand_over: Callable[[OwnersNotice], Awaitable[None]]) -> None:
        """`hand_over` takes a notice on its way to its address."""
        self._uow = uow
        self._hand_over = hand_over

    async def tell(self, tenant: Tenant, at: datetime | None, retention: Retention | None = None) -> None:
        """Mail all owners of a tenant, once that is decided. With no moment there is nothing to tell."""
        if at is None:
            return
        async with self._uow(tenant.id) as tx:
            owners = await tx.users.list_owners_addresses(tenant.id)
        for address in owners:
            try:
                await self._hand_over(OwnersNotice(tenant.id, tenant.name, at, retention, address))
            except MailBacklog:
                logger.warning("tenant.notice_undelivered", tenant_id=tenant.id)


class Settings:
    """What admins see and change of their tenant."""

    def __init__(
        self, uow: UnitOfWork[Tx], revisions: Revisions, clock: Clock, grace: timedelta, notices: Notices
    ) -> None:
        """`grace` is how long it takes until less is kept."""
        self._uow = uow
        self._revisions = revisions
        self._clock = clock
        self._grace = grace
        self._notices = notices

    async def get(self, caller: Caller) -> Tenant:
        """The caller's tenant. Raises TenantNotFound."""
        async with self._uow(caller.tenant_id) as tx:
            return _found(await tx.tenants.find_by_id(caller.tenant_id))

    async def change(self, caller: Caller, change: SettingsChange) -> Tenant:
        """The tenant after the change.

        Raises TenantNotFound, OperatorsOpen, DomainNotProven; RecentSignInRequired where a second factor is demanded
        no more, or where less is to be kept; for that OwnersOnly, too.
        """
        if change.require_second_factor is False:
            require_recent(caller, self._clock.now())
        async with self._uow(caller.tenant_id) as tx:
            await require_still(tx, caller, "tenant.manage")
            is_owner = await owns(tx, caller)
        # the weak role changes no tenant
        async with self._uow.system() as tx:
            await tx.users.lock_all(caller.tenant_id)  # no domain is given up until this is done
            await tx.tenants.lock(caller.tenant_id)
            tenant = _found(await tx.tenants.find_by_id(caller.tenant_id))
            await _require_allowed(tx, tenant, change.signup)  # an operator may have changed it meanwhile
            demands = change.require_second_factor
            after = replace(
                self._plan(tenant, change, caller, is_owner=is_owner),
                name=change.name or tenant.name,
                signup=change.signup or tenant.signup,
                require_second_factor=tenant.require_second_factor if demands is None else demands,
            )
            if after == tenant:
                excuse_act()
                return tenant
            await self._put(tx, tenant, after, caller)
        if after.retention_changes_at != tenant.retention_changes_at:
            await self._notices.tell(after, after.retention_changes_at, after.next_retention)
        return after

    async def begin_due(self) -> None:
        """Keep less where the grace is over."""
        async with self._uow.system() as tx:
            due = await tx.tenants.list_retention_due(self._clock.now())
        for tenant_id in due:
            async with self._uow.system() as tx:
                await tx.tenants.lock(tenant_id)
                tenant = await tx.tenants.find_by_id(tenant_id)
                # taken back, or put off, since it was found
                if tenant is None or tenant.next_retention is None or tenant.retention_changes_at is None:
                    continue
                if tenant.retention_changes_at <= self._clock.now():
                    after = replace(tenant, retention=tenant.next_retention, next_retention=None)
                    await self._put(tx, tenant, replace(after, retention_changes_at=None), None)

    def _plan(self, tenant: Tenant, change: SettingsChange, caller: Caller, *, is_owner: bool) -> Tenant:
        """The tenant that keeps more at once, and less when the grace is over."""
        planned = tenant.next_retention or tenant.retention
        wanted = replace(planned, **change.retention)
        changes_at = tenant.retention_changes_at
        if wanted.is_shorter_than(planned):
            if not is_owner:
                raise OwnersOnly("Only a signed-in owner may have things kept for less time.")
            require_recent(caller, self._clock.now())
            changes_at = self._clock.now() + self._grace
        retention = wanted.longest(tenant.retention)
        if wanted == retention:
            return replace(tenant, retention=retention, next_retention=None, retention_changes_at=None)
        return replace(tenant, retention=retention, next_retention=wanted, retention_changes_at=changes_at)

    async def _put(self, tx: Tx, before: Tenant, after: Tenant, by: Caller | None) -> None:
        changed = _differences(before, after)
        await tx.tenants.change(after)
        if after.require_second_factor != before.require_second_factor:  # who has shown one goes on, all stay signed in
            outdated = await tx.second_factors.outdate_without(after.id)
            await self._revisions.record_users(tx, after.id, outdated)
        if after.retention != before.retention:
            version = await tx.tenants.next_settings_version(after.id)
            tx.outbox.add(TenantSettings(tenant_id=after.id, version=version, **asdict(after.retention)))
        tx.outbox.add(entry(by, "tenant.change", after.id, tenant_id=after.id, detail=", ".join(changed)))
        logger.info("tenant.changed", tenant_id=after.id, changed=changed)


class Deletion:
    """Deletes tenants after a time of grace, in which only reading is allowed, and keeps the receipts."""

    def __init__(
        self,
        uow: UnitOfWork[Tx],
        revisions: Revisions,
        mailer: ReceiptMailer,
        notices: Notices,
        clock: Clock,
        grace: timedelta,
    ) -> None:
        self._uow = uow
        self._revisions = revisions
        self._mailer = mailer
        self._notices = notices
        self._clock = clock
        self._grace = grace

    async def ask(self, tenant_id: TenantId, confirm: str, by: Caller) -> Tenant:
        """Have a tenant deleted when the grace is over; again changes nothing.

        Raises TenantNotFound, OwnersOnly for a caller of the tenant that is none, RecentSignInRequired, SlugMismatch.
        """
        await self._require_owner(by)
        if by.subject_type != "operator":
            require_recent(by, self._clock.now())
        async with self._uow.system() as tx:
            await tx.tenants.lock(tenant_id)
            tenant = _found(await tx.tenants.find_by_id(tenant_id))
            if confirm != tenant.slug:
                raise SlugMismatch
            if tenant.deletes_at is not None:
                excuse_act()
                return tenant
            tenant = await self._set(tx, tenant_id, self._grace)
            tx.outbox.add(entry(by, "tenant.delete", tenant_id, tenant_id=tenant_id))
        logger.warning("tenant.deletion_asked", tenant_id=tenant_id, deletes_at=str(tenant.deletes_at))
        await self._notices.tell(tenant, tenant.deletes_at)
        return tenant

    async def take_back(self, tenant_id: TenantId, by: Caller) -> Tenant:
        """Let a tenant live that was to be deleted; again changes nothing.

        Raises TenantNotFound, OwnersOnly as `ask`, ErasureBegun.
        """
        await self._require_owner(by)
        async with self._uow.system() as tx:
            await tx.tenants.lock(tenant_id)
            tenant = _found(await tx.tenants.find_by_id(tenant_id))
            if await tx.audit.erased([tenant_id]):
                raise ErasureBegun
            if tenant.deletes_at is None:
                excuse_act()
                return tenant
            tenant = await self._set(tx, tenant_id, None)
            tx.outbox.add(entry(by, "tenant.restore", tenant_id, tenant_id=tenant_id))
        logger.info("tenant.deletion_taken_back", tenant_id=tenant_id)
        return tenant

    async def begin_due(self) -> None:
        """Begin to erase the tenants whose grace is over: nobody comes in any more, and every service hears of it."""
        async with self._uow.system() as tx:
            due = await tx.tenants.list_due(self._clock.now())
        for tenant_id in due:
            await self._begin(tenant_id)

    async def note(self, event: TenantErased) -> None:
        """Add to a receipt what a service erased."""
        async with self._uow.system() as tx:
            part = Part(event.time, event.erased, event.kept)
            await tx.receipts.note(TenantId(event.tenant_id), event.service, part, self._clock.now())

    async def mail(self) -> None:
        """Mail complete receipts to those who owned the tenants, and forget each who has one, or cannot be reached."""
        moment = self._clock.now()
        async with self._uow.system() as tx:
            waiting = await tx.receipts.take_to_mail(moment, moment + _MAIL_AGAIN)
        for mail in waiting:
            for address in mail.to:
                if await self._hand_in(mail.receipt, address, moment):
                    async with self._uow.system() as tx:
                        await tx.receipts.forget_address(mail.receipt.tenant_id, address)

    async def get_receipt(self, reference: str) -> Receipt:
        """The receipt of a deleted tenant, by its number or customer id. Raises ReceiptNotFound."""
        wanted = parse_tenant_reference(reference)
        if wanted is None or isinstance(wanted, str):
            raise ReceiptNotFound
        async with self._uow.system() as tx:
            found = await tx.receipts.find(wanted)
        if found is None:
            raise ReceiptNotFound
        return found

    async def _hand_in(self, receipt: Receipt, address: str, moment: datetime) -> bool:
        """Whether this address is done with."""
        try:
            await self._mailer.send_receipt(receipt, address)
        except Exception as error:  # noqa: BLE001 - one bad address must not keep the others from theirs
            is_given_up = receipt.finished_at is not None and moment - receipt.finished_at >= _MAIL_FOR
            reason = error.code if isinstance(error, DocuChatError) else type(error).__name__
            logger.warning(
                "tenant.receipt_undelivered", tenant_id=receipt.tenant_id, error=reason, is_given_up=is_given_up
            )
            return is_given_up
        return True

    async def _begin(self, tenant_id: TenantId) -> None:
        async with self._uow(tenant_id) as tx:
            owners = await tx.users.list_owners_addresses(tenant_id)
        moment = self._clock.now()
        async with self._uow.system() as tx:
            await tx.tenants.lock(tenant_id)
            tenant = await tx.tenants.find_by_id(tenant_id)
            if tenant is None or tenant.deletes_at is None or tenant.deletes_at > moment:
                return
            if not await tx.erasures.begin(tenant_id) or await tx.receipts.find(tenant_id) is not None:
                return  # somebody is about to write: the next time
            await tx.receipts.add(tenant_id, tenant.customer_id, moment, owners)
            await self._revisions.record(tx, "tenant", tenant_id, tenant_id, state="deleted")
            tx.outbox.add(TenantDeleted(tenant_id=tenant_id))
            tx.outbox.add(entry(None, "tenant.erase", tenant_id, tenant_id=tenant_id))
        logger.warning("tenant.erasure_begun", tenant_id=tenant_id)

    async def _set(self, tx: Tx, tenant_id: TenantId, grace: timedelta | None) -> Tenant:
        deletes_at = None if grace is None else self._clock.now() + grace
        tenant = _found(await tx.tenants.set_deletion(tenant_id, deletes_at))
        await self._revisions.record(tx, "tenant", tenant_id, tenant_id, state=tenant.state)
        return tenant

    async def _require_owner(self, by: Caller) -> None:
        if by.subject_type == "operator":
            return
        async with self._uow(by.tenant_id) as tx:
            if not await owns(tx, by):
                raise OwnersOnly("Only a signed-in owner may delete a tenant, or take that back.")


def _differences(before: Tenant, after: Tenant) -> list[str]:
    """What of the settings changed, for the audit log."""
    planned = "no other retention is planned"
    if after.next_retention is not None:
        planned = f"{_in_words(after.next_retention)} from {after.retention_changes_at:%Y-%m-%d %H:%M} UTC"
    is_demanded, was_demanded = after.require_second_factor, before.require_second_factor
    said = (
        ("name", after.name != before.name),
        (f"signup {after.signup.mode}", after.signup != before.signup),
        (_in_words(after.retention), after.retention != before.retention),
        (
            planned,
            after.retention_changes_at != before.retention_changes_at or after.next_retention != before.next_retention,
        ),
        (f"second factor {'demanded' if is_demanded else 'optional'}", is_demanded != was_demanded),
    )
    return [words for words, is_new in said if is_new]


def _in_words(retention: Retention) -> str:
    return ", ".join(f"{name} {days or 'for ever'}" for name, days in asdict(retention).items())


async def _require_allowed(tx: Tx, tenant: Tenant, wanted: SignUp | None) -> None:
    """Whether a tenant's admins may make this its rule.

    An open tenant lets anybody use what the installation pays for, so only operators open one; a domain lets all of it
    in, so it is one that was proven, or that an operator has set. Raises OperatorsOpen, DomainNotProven.
    """
    if wanted is None:
        return
    if wanted.mode is SignUpMode.OPEN and not tenant.signup.is_open:
        raise OperatorsOpen
    await require_proven(tx, tenant, wanted.domains)


def _found(tenant: Tenant | None) -> Tenant:
    if tenant is None:
        raise TenantNotFound
    return tenant
