"""`/v1/operator`: for operators only; auth and usage have more of it, which is relayed."""

from fastapi import APIRouter, Request, Response

from docuchat_common.audit import audited
from docuchat_common.contracts.dead_letters import DiscardRequest, DiscardResult
from docuchat_common.http.identity import CurrentOperator
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.problems import raises
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


def _service(request: Request) -> OperatorService:
    service: OperatorService = request.app.state.container.operator
    return service


@router.get("/status", summary="How every part is")
async def get_status(request: Request, _: CurrentOperator) -> SystemStatus:
    return await _service(request).look()


@router.get("/dead-letters", summary="Messages that services gave up")
async def list_dead_letters(request: Request, _: CurrentOperator) -> DeadLetterOverview:
    return await _service(request).list_dead_letters()


@router.post("/dead-letters/replay", summary="Bring dead letters back")
@raises(ServiceUnknown, NoSuchQueue)
@audited("dead_letters.replay")
async def replay_dead_letters(
    request: Request, operator: CurrentOperator, body: DeadLetterReplay
) -> DeadLettersReplayed:
    return await _service(request).replay_dead_letters(operator, body.service, body.queue)


@router.post("/dead-letters/discard", summary="Forget dead letters for good")
@raises(NoSuchQueue)
@audited("dead_letters.discard")
async def discard_dead_letters(request: Request, operator: CurrentOperator, body: DiscardRequest) -> DiscardResult:
    return await _service(request).discard_dead_letters(operator, body.queue)


@router.post("/documents/reembed", summary="Embed documents again")
@audited("documents.reembed")
async def reembed_documents(request: Request, operator: CurrentOperator, body: Reembedding) -> ReembeddingQueued:
    tenant_id = None if body.tenant_id is None else TenantId(body.tenant_id)
    return ReembeddingQueued(queued=await _service(request).reembed(operator, tenant_id))


@router.post("/documents/recount", summary="Count what is stored by the rows")
@audited("documents.recount")
async def recount_documents(request: Request, operator: CurrentOperator) -> HoldingsCorrected:
    return HoldingsCorrected.model_validate(await _service(request).recount(operator), from_attributes=True)


@router.get("/pauses", summary="Model providers that nobody asks now")
async def list_pauses(request: Request, _: CurrentOperator) -> ProviderPauses:
    return ProviderPauses(items=await _service(request).list_pauses())


@router.delete("/pauses", status_code=204, summary="Ask all model providers again")
@audited("pauses.end")
async def end_pauses(request: Request, operator: CurrentOperator) -> Response:
    await _service(request).end_pauses(operator)
    return Response(status_code=204)
