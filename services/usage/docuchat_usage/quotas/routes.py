"""HTTP of the holds, for the product's own services."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Request, Response
from pydantic import Discriminator, Tag

from docuchat_common.contracts.holds import HoldRenewal, HoldRequest, HoldView
from docuchat_common.http.identity import InternalCaller
from docuchat_common.http.json_body import JsonRoute
from docuchat_usage.quotas.schemas import OldHoldBody, hold_request, hold_view
from docuchat_usage.quotas.service import QuotaService


async def quota_service(request: Request) -> QuotaService:
    """The use cases of this process."""
    service: QuotaService = request.app.state.container.quotas
    return service


Service = Annotated[QuotaService, Depends(quota_service)]


def _form(body: Any) -> str:
    return "now" if isinstance(body, HoldRequest) or (isinstance(body, dict) and "amounts" in body) else "old"


AnyHold = Annotated[
    Annotated[HoldRequest, Tag("now")] | Annotated[OldHoldBody, Tag("old")], Discriminator(_form), Body()
]

router = APIRouter(
    prefix="/internal/holds", route_class=JsonRoute, dependencies=[InternalCaller], include_in_schema=False
)


@router.post("", status_code=201)
async def open_hold(body: AnyHold, service: Service) -> HoldView:
    """Set amounts aside before they are spent."""
    request = body if isinstance(body, HoldRequest) else body.renewed()
    return hold_view(await service.hold(hold_request(request)))


@router.patch("/{hold_id}")
async def renew_hold(hold_id: UUID, body: HoldRenewal, service: Service) -> HoldView:
    """Prolong the lease; shrink the hold."""
    return hold_view(await service.renew(hold_id, body.lease, body.tokens))


@router.delete("/{hold_id}", status_code=204)
async def release_hold(hold_id: UUID, service: Service) -> Response:
    """Give an unused hold back."""
    await service.release(hold_id)
    return Response(status_code=204)
