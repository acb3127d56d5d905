"""Prove by a DNS record that a domain of mail is the tenant's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from docuchat_auth.domains.domain import MOST_DOMAINS, OwnedDomain, new_token
from docuchat_auth.domains.errors import (
    DomainInUse,
    DomainKnown,
    DomainNotFound,
    DomainNotProven,
    InvalidDomain,
    TooManyDomains,
)
from docuchat_auth.domains.ports import TextRecords
from docuchat_auth.tenants.domain import Tenant, parse_domain
from docuchat_auth.users.service import require_still
from docuchat_common.acts import excuse_act
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.http.caller import Caller
from docuchat_common.idempotency import Settle, without_key
from docuchat_common.ids import TenantId, uuid7

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()


class Domains:
    """A domain is of one tenant: who comes later is refused until the first gives it up."""

    def __init__(self, uow: UnitOfWork[Tx], records: TextRecords, clock: Clock) -> None:
        self._uow = uow
        self._records = records
        self._clock = clock

    async def create(self, caller: Caller, text: str, settle: Settle[OwnedDomain] = without_key) -> OwnedDomain:
        """A domain with the record to publish. Raises InvalidDomain, DomainKnown, TooManyDomains."""
        name = parse_domain(text)
        if name is None:
            raise InvalidDomain
        domain = OwnedDomain(caller.tenant_id, uuid7(), name, new_token(), self._clock.now(), None)
        async with self._uow(caller.tenant_id) as tx:
            await tx.users.lock_all(caller.tenant_id)  # they are counted one after another
            await require_still(tx, caller, "identity.manage")
            if await tx.domains.count(caller.tenant_id) >= MOST_DOMAINS:
                raise TooManyDomains
            if not await tx.domains.add(domain):
                raise DomainKnown
            tx.outbox.add(entry(caller, "domain.create", domain.id))
            await settle(tx, domain)
        return domain

    async def list_after(self, tenant_id: TenantId, after: UUID | None, limit: int) -> list[OwnedDomain]:
        """The next domains by id."""
        async with self._uow(tenant_id) as tx:
            return await tx.domains.list_after(tenant_id, after, limit)

    async def verify(self, caller: Caller, domain_id: UUID) -> OwnedDomain:
        """Look for the record. Raises DomainNotFound, DomainNotProven, DomainTaken, DnsUnavailable."""
        async with self._uow(caller.tenant_id) as tx:
            await require_still(tx, caller, "identity.manage")
            domain = await tx.domains.find(caller.tenant_id, domain_id)
        if domain is None:
            raise DomainNotFound
        if domain.verified_at is not None:
            excuse_act()
            return domain
        if domain.record_value not in await self._records.texts_of(domain.record_name):
            raise DomainNotProven(
                f"The DNS does not hold the TXT record {domain.record_name} with the value {domain.record_value}; "
                "publish it, wait until it is seen, and try again."
            )
        moment = self._clock.now()
        async with self._uow(caller.tenant_id) as tx:
            await require_still(tx, caller, "identity.manage")
            if not await tx.domains.verify(caller.tenant_id, domain_id, moment):
                raise DomainNotFound  # deleted meanwhile, or proven by another request: asked again it says which
            tx.outbox.add(entry(caller, "domain.verify", domain_id, detail=domain.domain))
        logger.info("domain.proven", tenant_id=caller.tenant_id, domain_id=str(domain_id))
        return replace(domain, verified_at=moment)

    async def delete(self, caller: Caller, domain_id: UUID) -> None:
        """Give a domain up. Raises DomainNotFound, DomainInUse."""
        async with self._uow(caller.tenant_id) as tx:
            await tx.users.lock_all(caller.tenant_id)  # the sign-up does not come to name it meanwhile
            await require_still(tx, caller, "identity.manage")
            domain = await tx.domains.find(caller.tenant_id, domain_id)
            if domain is None:
                raise DomainNotFound
            tenant = await tx.tenants.find_by_id(caller.tenant_id)
            if domain.verified_at is not None and tenant is not None and domain.domain in tenant.signup.domains:
                raise DomainInUse
            await tx.domains.delete(caller.tenant_id, domain_id)
            await tx.requests.forget_about(caller.tenant_id, domain_id)
            tx.outbox.add(entry(caller, "domain.delete", domain_id, detail=domain.domain))


async def unproven(tx: Tx, tenant: Tenant, domains: Iterable[str]) -> frozenset[str]:
    """Which of `domains` the tenant has not proven, and no operator has vouched for by setting its sign-up."""
    asked = frozenset(domains) - tenant.signup.domains
    return asked - await tx.domains.list_proven(tenant.id, asked) if asked else asked


async def require_proven(tx: Tx, tenant: Tenant, domains: Iterable[str]) -> None:
    """Raise DomainNotProven, with the names in `domains`, unless all of them are the tenant's."""
    if missing := await unproven(tx, tenant, domains):
        raise DomainNotProven(
            f"The tenant has not proven {', '.join(sorted(missing))}: POST /v1/domains names the record to publish, "
            "and POST /v1/domains/{domain_id}/verify looks for it.",
            domains=sorted(missing),
        )
