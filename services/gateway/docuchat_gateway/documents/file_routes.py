"""`/v1/files` as OpenAI's clients ask: a list, and one file by its `file-` id. Uploads come to our own route."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from docuchat_common.audit import audited
from docuchat_common.blobs import BlobMissing, BlobStoreUnavailable
from docuchat_common.errors import RangeUnsatisfiable
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import MAX_LIMIT
from docuchat_common.http.problems import raises
from docuchat_common.ids import DocumentId, file_name
from docuchat_gateway.documents.domain import read_purpose
from docuchat_gateway.documents.errors import ParameterUnsupported, PurposeRefused
from docuchat_gateway.documents.file_schemas import FileDeleted, FileList, FileObject
from docuchat_gateway.documents.routes import CONTENT_RESPONSES, Documents, Reader, get_content
from docuchat_gateway.documents.spoken import FILE_CONTENT_PATH, FILE_PATH, speaks_openai
from docuchat_knowledge.documents.errors import DocumentNotFound

_MOST: Final = 10_000
"""The longest page that their clients may ask for; ours end sooner, and `has_more` says so."""


class SpokenRoute(JsonRoute):
    """A route for requests in OpenAI's words; any other goes on to the next."""

    def matches(self, scope: Scope) -> tuple[Match, Any]:
        """As the path says, where it is such a request."""
        return super().matches(scope) if speaks_openai(scope) else (Match.NONE, {})


router = APIRouter(tags=["files"], route_class=SpokenRoute)


# in the document of the API the path has our own list, which says that there is this one
@router.get("/v1/files", summary="List files as OpenAI's clients do", include_in_schema=False)
@raises(PurposeRefused, ParameterUnsupported)
async def list_as_files(
    caller: Reader,
    documents: Documents,
    purpose: Annotated[str | None, Query(max_length=100)] = None,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST)] = _MOST,
    order: Annotated[str, Query(max_length=10)] = "desc",
) -> FileList:
    """List documents as files, newest first, or oldest first with `order=asc`."""
    if order not in ("asc", "desc"):
        raise ParameterUnsupported("`order` is `asc`, oldest first, or `desc`, newest first.", param="order")
    shown = min(limit, MAX_LIMIT)
    last = None if after is None else _document_of(after)
    wanted = None if purpose is None else read_purpose(purpose)
    if order == "asc":
        found = await documents.list_oldest_first(caller, limit=shown + 1, after=last, purpose=wanted)
    else:
        found = await documents.list_documents(caller, limit=shown + 1, before=last, purpose=wanted)
    return FileList.of(found, shown)


def _document_of(name: str) -> DocumentId:
    try:
        return DocumentId(UUID(name.removeprefix("file-")))
    except ValueError as error:
        raise ParameterUnsupported("`after` is not the id of a file.", param="after") from error


@router.get(FILE_PATH, summary="A document as OpenAI's clients see a file")
@raises(DocumentNotFound)
async def get_as_file(caller: Reader, documents: Documents, document_id: UUID) -> FileObject:
    """Return a document as a file: `uploaded` until it is `processed`, or `error`."""
    return FileObject.of(await documents.get(caller, DocumentId(document_id)))


@router.get(
    FILE_CONTENT_PATH,
    summary="The file as it was uploaded, for OpenAI's clients",
    response_class=Response,
    responses=CONTENT_RESPONSES,
)
@raises(DocumentNotFound, BlobMissing, BlobStoreUnavailable, RangeUnsatisfiable)
async def get_content_of_file(
    request: Request,
    caller: Reader,
    documents: Documents,
    document_id: UUID,
    range_header: Annotated[str | None, Header(alias="Range")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Return what `GET /v1/files/{document_id}/content` does."""
    return await get_content(request, caller, documents, document_id, range_header, if_none_match)


@router.delete(FILE_PATH, summary="Delete a document now, as OpenAI's clients do")
@raises(DocumentNotFound)
@audited("document.delete")
async def delete_as_file(caller: Reader, documents: Documents, document_id: UUID) -> FileDeleted:
    """Delete a document with all that was made of it."""
    await documents.delete(caller, DocumentId(document_id))
    return FileDeleted(id=file_name(document_id))
