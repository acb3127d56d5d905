"""What other services ask about attachments."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from docuchat_chat.attachments.service import AttachmentService
from docuchat_common.contracts.attachments import UNUSED_PATH, Attachments
from docuchat_common.http.identity import require_internal_token
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.provided import provided
from docuchat_common.ids import DocumentId, TenantId

router = APIRouter(route_class=JsonRoute, include_in_schema=False)


@router.post(UNUSED_PATH, dependencies=[Depends(require_internal_token)])
async def list_unused(
    body: Attachments, attachments: Annotated[AttachmentService, provided("attachments")]
) -> Attachments:
    """Tell which files are used in no chat."""
    asked = [DocumentId(document_id) for document_id in body.document_ids]
    unused = await attachments.list_unused(TenantId(body.tenant_id), asked)
    return Attachments(tenant_id=body.tenant_id, document_ids=tuple(unused))
