"""HTTP of search."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from docuchat_chat.answers.errors import MessageEmpty
from docuchat_chat.answers.schemas import FoundPassage, SearchView
from docuchat_chat.answers.service import SearchService
from docuchat_common.contracts.holds import HOLD_REFUSED
from docuchat_common.http.caller import Caller
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.ids import DocumentId
from docuchat_knowledge.documents.errors import DocumentNotFound

router = APIRouter(prefix="/v1", route_class=JsonRoute)


@router.get(
    "/search",
    tags=["search"],
    summary="Test what a question would be answered from",
)
@raises(MessageEmpty, DocumentNotFound, *HOLD_REFUSED)
async def search(
    caller: Annotated[Caller, requires("documents.read")],
    service: Annotated[SearchService, provided("search")],
    q: Annotated[str, Query(min_length=1, max_length=2000, description="A question or words.")],
    limit: Annotated[int, Query(ge=1, le=50)] = 6,
    document_id: Annotated[list[UUID] | None, Query(max_length=100, description="Search these documents only.")] = None,
) -> SearchView:
    """Return the passages that hybrid search finds, with their place in either leg."""
    documents = tuple(map(DocumentId, document_id)) if document_id else None
    found = await service.search(caller, q, limit, documents)
    return SearchView(items=[FoundPassage.of(passage) for passage in found.passages], notice=found.notice)
