"""HTTP of what was spent."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from docuchat_common.http.identity import CurrentPrincipal
from docuchat_common.http.problems import problem_responses
from docuchat_usage.ledger.schemas import UsageReport
from docuchat_usage.ledger.service import LedgerService

_SEES_EVERY_USER = frozenset({"owner", "admin"})


async def ledger_service(request: Request) -> LedgerService:
    """The use cases of this process."""
    service: LedgerService = request.app.state.container.ledger
    return service


Service = Annotated[LedgerService, Depends(ledger_service)]

router = APIRouter(prefix="/v1", tags=["usage"])


@router.get("/usage", summary="Tokens, cost and quota", responses=problem_responses(401, 403, 503))
async def get_usage(principal: CurrentPrincipal, service: Service) -> UsageReport:
    """Tokens and cost of the last 24 hours, the last 7 days and the current period, and what is left of the quota.

    Everybody sees the tenant's totals and their own; owners and admins also see each user's.
    """
    report = await service.report(principal.tenant_id, principal.user_id)
    return UsageReport.of(report, with_users=principal.role in _SEES_EVERY_USER)
