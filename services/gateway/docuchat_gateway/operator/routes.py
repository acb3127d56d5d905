"""`/v1/operator`: for operators only; auth and usage have more of it, which is relayed."""

from typing import Annotated

from fastapi import APIRouter, Response

from docuchat_common.audit import audited
from docuchat_common.contracts.dead_letters import DiscardRequest, DiscardResult
from docuchat_common.http.identity import CurrentOperator
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.ids import TenantId
from docuchat_common.messaging.dead_letters import NoSuchQueue
from docuchat_gateway.operator.errors import ServiceUnknown
from docuchat_gateway.operator.schemas import (
    DeadLetterOverview,
    DeadLetterReplay,
    DeadLettersReplayed,
    HoldingsCorrected,
    ProviderPauses,
    Reembedding,
    ReembeddingQueued,
    SystemStatus,
)
from docuchat_gateway.operator.service import OperatorService

router = APIRouter(prefix="/v1/operator", tags=["operator"], route_class=JsonRoute)

Service = Annotated[OperatorService, provided("operator")]


@router.get("/status", summary="How every part is")
async def get_status(_: CurrentOperator, service: Service) -> SystemStatus:
    return await service.look()


@router.get("/dead-letters", summary="Messages that services gave up")
async def list_dead_letters(_: CurrentOperator, service: Service) -> DeadLetterOverview:
    return await service.list_dead_letters()


@router.post("/dead-letters/replay", summary="Bring dead letters back")
@raises(ServiceUnknown, NoSuchQueue)
@audited("dead_letters.replay")
async def replay_dead_letters(
    operator: CurrentOperator, body: DeadLetterReplay, service: Service
) -> DeadLettersReplayed:
    return await service.replay_dead_letters(operator, body.service, body.queue)


@router.post("/dead-letters/discard", summary="Forget dead letters for good")
@raises(NoSuchQueue)
@audited("dead_letters.discard")
async def discard_dead_letters(operator: CurrentOperator, body: DiscardRequest, service: Service) -> DiscardResult:
    return await service.discard_dead_letters(operator, body.queue)


@router.post("/documents/reembed", summary="Embed documents again")
@audited("documents.reembed")
async def reembed_documents(operator: CurrentOperator, body: Reembedding, service: Service) -> ReembeddingQueued:
    tenant_id = None if body.tenant_id is None else TenantId(body.tenant_id)
    return ReembeddingQueued(queued=await service.reembed(operator, tenant_id))


@router.post("/documents/recount", summary="Count what is stored by the rows")
@audited("documents.recount")
async def recount_documents(operator: CurrentOperator, service: Service) -> HoldingsCorrected:
    return HoldingsCorrected.model_validate(await service.recount(operator), from_attributes=True)


@router.get("/pauses", summary="Model providers that nobody asks now")
async def list_pauses(_: CurrentOperator, service: Service) -> ProviderPauses:
    return ProviderPauses(items=await service.list_pauses())


@router.delete("/pauses", status_code=204, summary="Ask all model providers again")
@audited("pauses.end")
async def end_pauses(operator: CurrentOperator, service: Service) -> Response:
    await service.end_pauses(operator)
    return Response(status_code=204)
