"""HTTP: parse, call the use case, present."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Request, Response
from pydantic import Discriminator, Tag

from docuchat_common.contracts.holds import HoldRenewal, HoldRequest, HoldView
from docuchat_common.http.identity import CurrentPrincipal, InternalCaller
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.problems import problem_responses
from docuchat_usage.schemas import OldHoldBody, UsageReport, hold_request, hold_view
from docuchat_usage.service import UsageService

_SEES_EVERY_USER = frozenset({"owner", "admin"})


async def usage_service(request: Request) -> UsageService:
    """The use cases of this process."""
    service: UsageService = request.app.state.container.service
    return service


Service = Annotated[UsageService, Depends(usage_service)]


def _form(body: Any) -> str:
    return "now" if isinstance(body, HoldRequest) or (isinstance(body, dict) and "amounts" in body) else "old"


AnyHold = Annotated[
    Annotated[HoldRequest, Tag("now")] | Annotated[OldHoldBody, Tag("old")], Discriminator(_form), Body()
]

public = APIRouter(prefix="/v1", tags=["usage"])
internal = APIRouter(
    prefix="/internal/holds", route_class=JsonRoute, dependencies=[InternalCaller], include_in_schema=False
)


@public.get("/usage", summary="Tokens, cost and quota", responses=problem_responses(401, 403, 503))
async def get_usage(principal: CurrentPrincipal, service: Service) -> UsageReport:
    """Tokens and cost of the last 24 hours, the last 7 days and the current period, and what is left of the quota.

    Everybody sees the tenant's totals and their own; owners and admins also see each user's.
    """
    report = await service.report(principal.tenant_id, principal.user_id)
    return UsageReport.of(report, with_users=principal.role in _SEES_EVERY_USER)


@internal.post("", status_code=201)
async def open_hold(body: AnyHold, service: Service) -> HoldView:
    """Set amounts aside before they are spent."""
    request = body if isinstance(body, HoldRequest) else body.renewed()
    return hold_view(await service.hold(hold_request(request)))


@internal.patch("/{hold_id}")
async def renew_hold(hold_id: UUID, body: HoldRenewal, service: Service) -> HoldView:
    """Prolong the lease; shrink the hold."""
    return hold_view(await service.renew(hold_id, body.lease, body.tokens))


@internal.delete("/{hold_id}", status_code=204)
async def release_hold(hold_id: UUID, service: Service) -> Response:
    """Give an unused hold back."""
    await service.release(hold_id)
    return Response(status_code=204)
