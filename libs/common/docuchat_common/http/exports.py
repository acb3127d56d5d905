"""`/internal/export`, the same at every service that keeps something of tenants; its container has `exporter`."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from docuchat_common.exporting import PATH, Exported, Exporter
from docuchat_common.http.identity import InternalCaller
from docuchat_common.http.provided import provided
from docuchat_common.ids import TenantId

router = APIRouter(dependencies=[InternalCaller], include_in_schema=False)


@router.get(PATH)
async def export(
    exporter: Annotated[Exporter, provided("exporter")],
    tenant_id: Annotated[int, Query(ge=1, lt=1 << 31)],
    user_id: UUID | None = None,
    key_id: Annotated[list[UUID], Query(max_length=1000)] = [],  # noqa: B006 - FastAPI copies it
) -> StreamingResponse:
    """All that this service keeps of a tenant, or of one person, as lines of JSON (`docuchat_common.exporting`)."""
    lines = exporter.lines(Exported(TenantId(tenant_id), user_id, tuple(key_id)))
    return StreamingResponse(lines, media_type="application/x-ndjson")
