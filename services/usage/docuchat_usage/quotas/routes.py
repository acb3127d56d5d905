"""HTTP of the holds, for the product's own services, and of the limits, for operators."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from docuchat_common.audit import audited
from docuchat_common.contracts.holds import HoldRenewal, HoldRequest, HoldView
from docuchat_common.http.identity import CurrentOperator, InternalCaller, bearer_token, current_operator
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_usage.quotas.errors import TenantUnknown, UserUnknown
from docuchat_usage.quotas.schemas import QuotaBody, QuotaView, TenantNumber, hold_view
from docuchat_usage.quotas.service import QuotaService

Service = Annotated[QuotaService, provided("quotas")]


async def _assert_user(request: Request, tenant_id: int, user_id: UUID | None) -> None:
    """Refuse an id that is none of the tenant's users: a limit on it would limit nobody."""
    if user_id is not None:
        await request.app.state.container.users.assert_one(tenant_id, user_id, bearer_token(request.headers))


router = APIRouter(
    prefix="/internal/holds", route_class=JsonRoute, dependencies=[InternalCaller], include_in_schema=False
)


operator = APIRouter(
    prefix="/v1/operator/tenants/{tenant_id}/quota",
    tags=["operators"],
    route_class=JsonRoute,
    dependencies=[Depends(current_operator)],
)


@router.post("", status_code=201)
async def open_hold(body: HoldRequest, service: Service) -> HoldView:
    """Set amounts aside before they are spent."""
    return hold_view(await service.hold(body))


@router.patch("/{hold_id}")
async def renew_hold(hold_id: UUID, body: HoldRenewal, service: Service) -> HoldView:
    """Prolong the lease; shrink the hold."""
    return hold_view(await service.renew(hold_id, body.lease, body.tokens))


@router.delete("/{hold_id}", status_code=204)
async def release_hold(hold_id: UUID, service: Service) -> Response:
    """Give an unused hold back."""
    await service.release(hold_id)
    return Response(status_code=204)


@router.post("/{hold_id}/settle", status_code=204)
async def settle_hold(hold_id: UUID, service: Service) -> Response:
    """Count the message that was held, and give the tokens back."""
    await service.settle(hold_id)
    return Response(status_code=204)


@operator.get("", summary="See a tenant's quota")
@raises(TenantUnknown, UserUnknown)
async def get_quota(
    request: Request, tenant_id: TenantNumber, service: Service, user_id: UUID | None = None
) -> QuotaView:
    """What a tenant, or with `user_id` one of its users, may use, and what is used and held of it."""
    await _assert_user(request, tenant_id, user_id)
    return QuotaView.of(tenant_id, user_id, await service.get_quota(tenant_id, user_id))


@operator.put("", summary="Set a tenant's quota")
@raises(TenantUnknown, UserUnknown)
@audited("quota.set")
async def set_quota(
    request: Request, caller: CurrentOperator, tenant_id: TenantNumber, body: QuotaBody, service: Service
) -> QuotaView:
    """Set the limits that are given, for the tenant or one of its users; null is no limit, the others stay."""
    await _assert_user(request, tenant_id, body.user_id)
    await service.set_quota(tenant_id, body.user_id, body.limits(), by=caller)
    return QuotaView.of(tenant_id, body.user_id, await service.get_quota(tenant_id, body.user_id))
