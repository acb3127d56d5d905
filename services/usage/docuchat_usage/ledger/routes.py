"""HTTP of what was spent."""

from typing import Annotated

from fastapi import APIRouter

from docuchat_common.http.caller import Caller
from docuchat_common.http.identity import InternalCaller
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.provided import provided
from docuchat_usage.ledger.schemas import KnownBody, KnownView, UsageReport
from docuchat_usage.ledger.service import LedgerService

Service = Annotated[LedgerService, provided("ledger")]

router = APIRouter(prefix="/v1", tags=["usage"], route_class=JsonRoute)
internal = APIRouter(
    prefix="/internal/ledger", route_class=JsonRoute, dependencies=[InternalCaller], include_in_schema=False
)


@router.get("/usage", summary="Tokens, cost and quota")
async def get_usage(caller: Annotated[Caller, requires("usage.read")], service: Service) -> UsageReport:
    """Tokens and cost of the last 24 hours, the last 7 days and the current period, and what is left of the quota.

    Everybody sees the tenant's totals and their own; owners and admins also see each user's and each chatbot's.
    """
    return UsageReport.of(await service.report(caller), with_users=caller.can("usage.manage"))


@internal.post("/known")
async def list_known(body: KnownBody, service: Service) -> KnownView:
    """Which of these usage events are booked; the others were lost on their way, or are still under way."""
    return KnownView(known=await service.list_booked(body.event_ids))
