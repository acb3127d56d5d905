"""HTTP: domains of mail that are the tenant's own."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response

from docuchat_auth.domains.errors import (
    DnsUnavailable,
    DomainInUse,
    DomainKnown,
    DomainNotFound,
    DomainNotProven,
    DomainTaken,
    InvalidDomain,
    TooManyDomains,
)
from docuchat_auth.domains.schemas import DomainView, NewDomain
from docuchat_auth.domains.service import Domains
from docuchat_common.audit import audited
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import CurrentCreation, created
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Page, Paging
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS

router = APIRouter(tags=["identity"], route_class=JsonRoute, prefix="/v1/domains")


Service = Annotated[Domains, provided("domains")]
Admin = Annotated[Caller, requires("identity.manage")]


@router.post(
    "", summary="Add a domain to prove", status_code=201, response_model=DomainView, operation_id="createDomain"
)
@raises(InvalidDomain, DomainKnown, TooManyDomains, *IDEMPOTENCY_ERRORS)
@audited("domain.create")
async def create_domain(body: NewDomain, caller: Admin, domains: Service, creating: CurrentCreation) -> Response:
    """Publish the `record` of the answer in the domain's DNS, then verify."""
    return await creating.once(
        caller,
        body,
        lambda settle: domains.create(caller, body.domain, settle),
        lambda domain: created(DomainView.of(domain)),
        about=lambda domain: domain.id,
    )


@router.get("", summary="List domains", operation_id="listDomains")
async def list_domains(caller: Admin, domains: Service, paging: Paging) -> Page[DomainView]:
    """The tenant's domains, proven and not yet, each with its record."""
    found = await domains.list_after(caller.tenant_id, paging.after(1, UUID), paging.rows)
    return paging.page(found, DomainView.of, lambda domain: (domain.id,))


@router.post("/{domain_id}/verify", summary="Prove a domain", operation_id="verifyDomain")
@raises(DomainNotFound, DomainNotProven, DomainTaken, DnsUnavailable)
@audited("domain.verify")
async def verify_domain(domain_id: UUID, caller: Admin, domains: Service) -> DomainView:
    """Looks for the record. What is proven stays so; the record may go then."""
    return DomainView.of(await domains.verify(caller, domain_id))


@router.delete("/{domain_id}", summary="Give a domain up", status_code=204, operation_id="deleteDomain")
@raises(DomainNotFound, DomainInUse)
@audited("domain.delete")
async def delete_domain(domain_id: UUID, caller: Admin, domains: Service) -> None:
    """Nobody's account is found by its addresses from then on when they sign in through an identity provider."""
    await domains.delete(caller, domain_id)
