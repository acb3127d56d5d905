"""Find tenants by what clients send, and create them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from docuchat_auth.revisions.service import Revisions
from docuchat_auth.tenants.domain import (
    SignUp,
    SignUpMode,
    Tenant,
    TenantReference,
    parse_domain,
    parse_slug,
    parse_tenant_reference,
)
from docuchat_auth.tenants.errors import ChooseTenant, InvalidSignUp, InvalidSlug, TenantNotFound, TenantTaken
from docuchat_common.audit import entry
from docuchat_common.events.catalogue import TenantCreated
from docuchat_common.http.caller import NO_TENANT, Caller
from docuchat_common.ids import TenantId

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()


class TenantDirectory:
    """Finds tenants by what clients send, and creates them."""

    def __init__(self, uow: UnitOfWork[Tx], revisions: Revisions) -> None:
        self._uow = uow
        self._revisions = revisions

    async def find_by_reference(self, reference: str) -> Tenant | None:
        """The tenant of a number, customer id or slug."""
        wanted = parse_tenant_reference(reference)
        # which tenant is meant is known only after this, so it is the system's question
        async with self._uow.system() as tx:
            return await _find_tenant(tx, NO_TENANT if wanted is None else wanted)

    async def find_only(self) -> Tenant | None:
        """The one tenant of an installation that has no other: there nobody needs to name it."""
        async with self._uow.system() as tx:
            return await tx.tenants.find_only()

    async def get_by_reference(self, reference: str) -> Tenant:
        """As `find_by_reference`. Raises TenantNotFound."""
        found = await self.find_by_reference(reference)
        if found is None:
            raise TenantNotFound
        return found

    async def create(
        self,
        slug: str,
        name: str,
        *,
        tenant_id: int | None,
        signup: SignUp,
        by: Caller | None = None,
        is_part: bool = False,
    ) -> tuple[Tenant, bool]:
        """The tenant and whether it is new: the same slug again (and the same id, when given) changes nothing.

        `is_part` of an act that has its audit entry.

        Raises InvalidSlug; TenantTaken when the id belongs to another slug or the slug to another id.
        """
        valid = parse_slug(slug)
        if valid is None:
            raise InvalidSlug
        wanted = None if tenant_id is None else TenantId(tenant_id)
        async with self._uow.system() as tx:
            known = await tx.tenants.find_by_slug(valid)
            if known is None:
                try:
                    tenant = await tx.tenants.add(valid, name, signup=signup, tenant_id=wanted)
                except TenantTaken:
                    # lost a race to an equal command, or the id is another tenant's
                    known = await tx.tenants.find_by_slug(valid)
                    if known is None:
                        raise
                else:
                    tx.outbox.add(TenantCreated(tenant_id=tenant.id, slug=tenant.slug, name=tenant.name))
                    if not is_part:
                        tx.outbox.add(entry(by, "tenant.create", tenant.id, tenant_id=tenant.id))
                    logger.info("tenant.created", tenant_id=tenant.id, slug=tenant.slug)
                    return tenant, True
        if wanted is not None and known.id != wanted:
            raise TenantTaken(f"The slug belongs to tenant {known.id}.")
        return known, False

    async def list_after(self, tenant_id: int, limit: int) -> list[Tenant]:
        """The next tenants by id."""
        async with self._uow.system() as tx:
            return await tx.tenants.list_after(tenant_id, limit)

    async def set_signup(self, tenant_id: TenantId, signup: SignUp, *, by: Caller | None = None) -> Tenant:
        """Say who may join without being invited. Raises TenantNotFound."""
        return await self.change(tenant_id, signup=signup, by=by)

    async def set_suspended(self, tenant_id: TenantId, *, is_suspended: bool, by: Caller | None = None) -> Tenant:
        """Allow nothing but reading, or everything again; felt within seconds. Raises TenantNotFound."""
        return await self.change(tenant_id, is_suspended=is_suspended, by=by)

    async def change(
        self,
        tenant_id: TenantId,
        *,
        signup: SignUp | None = None,
        is_suspended: bool | None = None,
        by: Caller | None = None,
    ) -> Tenant:
        """As `set_signup` and `set_suspended`, of which at least one is asked, in one act. Raises TenantNotFound."""
        done: list[str] = []
        tenant: Tenant | None = None
        async with self._uow.system() as tx:
            if signup is not None:
                tenant = await tx.tenants.set_signup(tenant_id, signup)
                done.append(" ".join([f"signup {signup.mode}", *sorted(signup.domains)]))
            if is_suspended is not None:
                tenant = await tx.tenants.set_suspended(tenant_id, is_suspended=is_suspended)
                done.append("suspended" if is_suspended else "active")
            if tenant is None:
                raise TenantNotFound
            if is_suspended is not None:
                await self._revisions.record(tx, "tenant", tenant_id, tenant_id, state=tenant.state)
            tx.outbox.add(entry(by, "tenant.change", tenant_id, tenant_id=tenant_id, detail=", ".join(done)))
        logger.info("tenant.changed", tenant_id=tenant_id, signup=tenant.signup.mode.value, state=tenant.state)
        return tenant


def choice_of(tenants: Iterable[Tenant]) -> ChooseTenant:
    """Name the tenants to somebody who has proven to be in all of them."""
    return ChooseTenant(
        tenants=[
            {"id": tenant.id, "customer_id": str(tenant.customer_id), "slug": tenant.slug, "name": tenant.name}
            for tenant in tenants
        ]
    )


def make_signup(mode: SignUpMode, domains: Iterable[str] = ()) -> SignUp:
    """The rule for these domains, which whoever calls vouches for. Raises InvalidSignUp."""
    parsed = {text: parse_domain(text) for text in domains}
    if wrong := [text for text, domain in parsed.items() if domain is None]:
        raise InvalidSignUp(f"{wrong[0]!r} is no domain of mail; one looks like acme.example.")
    if bool(parsed) != (mode is SignUpMode.DOMAINS):
        raise InvalidSignUp
    return SignUp(mode, frozenset(domain for domain in parsed.values() if domain))


async def _find_tenant(tx: Tx, wanted: TenantReference) -> Tenant | None:
    if isinstance(wanted, int):
        return await tx.tenants.find_by_id(wanted)
    if isinstance(wanted, UUID):
        return await tx.tenants.find_by_customer_id(wanted)
    return await tx.tenants.find_by_slug(wanted)
