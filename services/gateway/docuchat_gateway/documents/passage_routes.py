"""`/v1/passages`: what a citation points at."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from docuchat_common.http.caller import Caller
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.ids import ChunkId
from docuchat_gateway.documents.schemas import PassageView
from docuchat_gateway.documents.service import DocumentService
from docuchat_knowledge.documents.errors import PassageNotFound

router = APIRouter(prefix="/v1/passages", tags=["documents"], route_class=JsonRoute)


@router.get(
    "/{chunk_id}",
    summary="The passage of a citation, with its neighbours",
)
@raises(PassageNotFound)
async def get_passage(
    caller: Annotated[Caller, requires("documents.read")],
    documents: Annotated[DocumentService, provided("documents")],
    chunk_id: UUID,
    neighbours: Annotated[int, Query(ge=0, le=5, description="Passages before and after it.")] = 1,
) -> PassageView:
    return PassageView.of(await documents.get_passage(caller, ChunkId(chunk_id), neighbours=neighbours))
