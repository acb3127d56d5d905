"""HTTP of what is counted as stored, for the service that keeps the documents."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from docuchat_common.contracts.holdings import PAGE_SIZE, Corrected, Holding, Holdings
from docuchat_common.http.identity import InternalCaller
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.provided import provided
from docuchat_usage.documents.domain import StoredDocument
from docuchat_usage.documents.service import DocumentService

Service = Annotated[DocumentService, provided("documents")]

internal = APIRouter(
    prefix="/internal/holdings", route_class=JsonRoute, dependencies=[InternalCaller], include_in_schema=False
)


@internal.get("")
async def list_counted(
    service: Service, after: UUID | None = None, limit: Annotated[int, Query(ge=1, le=PAGE_SIZE)] = PAGE_SIZE
) -> Holdings:
    """A page of the documents that count now, of all tenants, by id."""
    return Holdings(items=tuple(map(_holding, await service.list_counted(after, limit))))


@internal.post("")
async def correct(body: Holdings, service: Service) -> Corrected:
    """Count documents as their rows say, whatever the events said or did not say."""
    return Corrected(corrected=await service.correct([*map(_stored, body.items)]))


@internal.post("/sums")
async def recount(service: Service, after: Annotated[int, Query(ge=0, lt=1 << 63)] = 0) -> Corrected:
    """Charge some tenants, by id, with what their counted documents come to."""
    corrected, go_on = await service.recount(after)
    return Corrected(corrected=corrected, after=go_on)


def _stored(holding: Holding) -> StoredDocument:
    if holding.is_gone:
        return StoredDocument(holding.tenant_id, holding.document_id, deleted=True)
    is_read = holding.generation > 0
    return StoredDocument(
        tenant_id=holding.tenant_id,
        document_id=holding.document_id,
        user_id=holding.user_id,
        size_bytes=holding.size_bytes,
        pages=holding.pages if is_read else None,
        generation=holding.generation if is_read else None,
    )


def _holding(stored: StoredDocument) -> Holding:
    return Holding(
        document_id=stored.document_id,
        tenant_id=stored.tenant_id,
        user_id=stored.user_id,
        size_bytes=stored.size_bytes or 0,
        pages=stored.pages or 0,
        generation=stored.generation or 0,
    )
