"""`/v1/files`: list, progress, content, retry, delete."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from orjson import dumps
from starlette.responses import Response, StreamingResponse

from docuchat_common.audit import audited
from docuchat_common.blobs import BlobMissing, BlobStoreUnavailable
from docuchat_common.errors import DocuChatError, RangeUnsatisfiable
from docuchat_common.http.caller import Caller
from docuchat_common.http.claims import Identity
from docuchat_common.http.downloads import content_disposition
from docuchat_common.http.identity import CurrentIdentity
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Page, Paging
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import Responses, problem_response, raises, reference
from docuchat_common.http.provided import provided
from docuchat_common.ids import CollectionId, DocumentId
from docuchat_gateway.documents.errors import TooManyRetries, TooManyStreams
from docuchat_gateway.documents.schemas import DeletionReceiptView, DocumentView, PageTextView
from docuchat_gateway.documents.service import DocumentService
from docuchat_gateway.event_stream import broken_off
from docuchat_knowledge.documents.domain import Document, DocumentStatus
from docuchat_knowledge.documents.errors import DocumentNotFailed, DocumentNotFound, PageNotFound

router = APIRouter(prefix="/v1/files", tags=["files"], route_class=JsonRoute)

_RANGE = re.compile(r"bytes=(?:(\d{1,15})-(\d{1,15})?|-(\d{1,15}))")

_FILE: Final = {"schema": {"type": "string", "format": "binary"}}
_TEXT: Final = {"type": "string"}
_ETAG: Final = {"ETag": {"description": "Send it as `If-None-Match`.", "schema": _TEXT}}
_RANGE_HEADER: Final = {"Content-Range": {"description": "Which bytes, and of how many.", "schema": _TEXT}}
_FILE_HEADERS: Final = _ETAG | {
    "Accept-Ranges": {"description": "`bytes`", "schema": _TEXT},
    "Content-Disposition": {"description": "An attachment of the file's name.", "schema": _TEXT},
}
CONTENT_RESPONSES: Final[Responses] = {
    200: {"description": "The file", "content": {"application/pdf": _FILE}, "headers": _FILE_HEADERS},
    206: {
        "description": "The part that `Range` asks for",
        "content": {"application/pdf": _FILE},
        "headers": _FILE_HEADERS | _RANGE_HEADER,
    },
    304: {"description": "Not modified", "headers": _ETAG},
}
_EVENTS_RESPONSES: Final[Responses] = {
    200: {
        "description": "Server-sent events: `progress`, whose data is the document, at once and after each change "
        "until it is ready or failed; `error` when that cannot go on. A stream ends after a while: ask for another.",
        "content": {"text/event-stream": {"schema": {"oneOf": [reference("DocumentView"), reference("ErrorFrame")]}}},
    },
}


Documents = Annotated[DocumentService, provided("documents")]
Reader = Annotated[Caller, requires("documents.read")]
Owner = Annotated[Caller, requires("documents.add")]


@router.get(
    "",
    summary="List documents, newest first",
    description="With `purpose`, or from one of OpenAI's clients, the list is told as OpenAI does: see docs/openai.md.",
)
async def list_files(
    caller: Reader,
    documents: Documents,
    paging: Paging,
    status: Annotated[DocumentStatus | None, Query(description="Only documents in this state.")] = None,
    q: Annotated[str | None, Query(max_length=200, description="Only documents whose title contains this.")] = None,
    collection_id: Annotated[UUID | None, Query(description="Only documents of this collection.")] = None,
) -> Page[DocumentView]:
    title_contains = q.replace("\x00", "").strip() if q else None
    found = await documents.list_documents(
        caller,
        limit=paging.rows,
        before=paging.after(1, lambda text: DocumentId(UUID(text))),
        status=status,
        title_contains=title_contains or None,
        collection_id=None if collection_id is None else CollectionId(collection_id),
    )
    return paging.page(found, DocumentView.of, lambda document: (document.id,))


@router.get("/{document_id}", summary="A document and its progress")
@raises(DocumentNotFound)
async def get_file(caller: Reader, documents: Documents, document_id: UUID) -> DocumentView:
    return DocumentView.of(await documents.get(caller, DocumentId(document_id)))


@router.get(
    "/{document_id}/content",
    summary="The file as it was uploaded",
    response_class=Response,
    responses=CONTENT_RESPONSES,
)
@raises(DocumentNotFound, BlobMissing, BlobStoreUnavailable, RangeUnsatisfiable)
async def get_content(
    request: Request,
    caller: Reader,
    documents: Documents,
    document_id: UUID,
    range_header: Annotated[str | None, Header(alias="Range")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    start, end = _parse_range(range_header)
    if if_none_match is not None:
        document = await documents.get(caller, DocumentId(document_id))
        if f'"{document.sha256}"' in if_none_match:
            return Response(status_code=304, headers={"ETag": f'"{document.sha256}"'})
    try:
        document, content = await documents.open_content(caller, DocumentId(document_id), start, end)
    except RangeUnsatisfiable as error:
        return problem_response(
            416,
            error.code,
            error.detail,
            headers={"Content-Range": f"bytes */{error.extensions['size']}"},
            request_id=request.scope.get("request_id"),
        )
    headers = {
        "Content-Length": str(content.end - content.start),
        "Content-Disposition": content_disposition(document.filename),
        "Accept-Ranges": "bytes",
        "ETag": f'"{document.sha256}"',
        "Cache-Control": "private, no-cache",
        # a document is somebody's upload: a browser must neither guess its type nor run what it holds
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    partial = start is not None or end is not None
    if partial:
        headers["Content-Range"] = f"bytes {content.start}-{content.end - 1}/{content.size}"
    return StreamingResponse(
        content.chunks, status_code=206 if partial else 200, media_type=document.media_type, headers=headers
    )


def _parse_range(value: str | None) -> tuple[int | None, int | None]:
    """First and end (half-open) of a single range; a first below 0 counts from the end. Anything else asks for all."""
    match = _RANGE.fullmatch(value.strip()) if value else None
    if match is None:
        return None, None
    first, last, suffix = match.groups()
    if suffix is not None:
        return (-int(suffix) if int(suffix) else 10**15), None
    if last is not None and int(last) < int(first):
        return None, None  # not a valid range: to be ignored (RFC 9110 §14.1.1)
    return int(first), None if last is None else int(last) + 1


@router.get(
    "/{document_id}/text",
    summary="The text of a page",
)
@raises(DocumentNotFound, PageNotFound)
async def get_text(
    caller: Reader,
    documents: Documents,
    document_id: UUID,
    page: Annotated[int, Query(ge=1, le=1_000_000, description="Counts from 1.")] = 1,
) -> PageTextView:
    return PageTextView.of(await documents.read_page(caller, DocumentId(document_id), page))


@router.delete("/{document_id}", summary="Delete a document now")
@raises(DocumentNotFound)
@audited("document.delete")
async def delete_file(caller: Reader, documents: Documents, document_id: UUID) -> DeletionReceiptView:
    return DeletionReceiptView.of(await documents.delete(caller, DocumentId(document_id)))


@router.post(
    "/{document_id}/retry",
    status_code=202,
    summary="Process a failed document again",
)
@raises(DocumentNotFound, DocumentNotFailed, TooManyRetries)
@audited("document.retry")
async def retry_file(caller: Owner, documents: Documents, document_id: UUID) -> DocumentView:
    return DocumentView.of(await documents.retry(caller, DocumentId(document_id)))


@router.get(
    "/{document_id}/events",
    summary="Progress of a document, pushed",
    description="Server-sent events `progress` whose data is the document; the stream ends when it is ready or failed.",
    response_class=StreamingResponse,
    responses=_EVENTS_RESPONSES,
)
@raises(DocumentNotFound, TooManyStreams)
async def watch_file(
    request: Request, caller: Reader, documents: Documents, identity: CurrentIdentity, document_id: UUID
) -> StreamingResponse:
    # what can be refused must be before the stream begins
    await documents.get(caller, DocumentId(document_id))
    request.app.state.container.progress_streams.require_room(caller.holder)
    return StreamingResponse(
        _progress(request, identity, DocumentId(document_id)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


_AGAIN: Final = b"retry: 2000\n\n"
"""A browser that follows the stream connects again after so many milliseconds."""


async def _progress(request: Request, identity: Identity, document_id: DocumentId) -> AsyncIterator[bytes]:
    container, caller = request.app.state.container, identity.caller
    settings = container.settings
    loop = asyncio.get_running_loop()
    began = quiet_since = loop.time()
    heartbeat = settings.progress_heartbeat.total_seconds()
    try:
        with container.progress_streams.one_more(caller.holder):
            async for document in container.documents.watch(caller, document_id, poll=settings.progress_poll):
                container.verifier.recheck(identity, "documents.read", "GET")
                if loop.time() - began >= settings.progress_longest.total_seconds():
                    yield _AGAIN
                    return
                if document is not None:
                    yield _progress_event(document)
                elif loop.time() - quiet_since >= heartbeat:
                    yield b": still here\n\n"
                else:
                    continue
                quiet_since = loop.time()
    except DocuChatError as error:
        yield broken_off(error)


def _progress_event(document: Document) -> bytes:
    return b"event: progress\ndata: " + dumps(DocumentView.of(document).model_dump(mode="json")) + b"\n\n"
