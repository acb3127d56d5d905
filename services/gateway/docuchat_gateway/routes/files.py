"""`/v1/files`: upload, list, progress, content, retry, delete."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any, Final
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from orjson import dumps
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from docuchat_common.errors import DocuChatError
from docuchat_common.http.identity import CurrentPrincipal, Principal
from docuchat_common.http.pages import Cursor, InvalidCursor, Limit, Page, decode_cursor, encode_cursor
from docuchat_common.http.problems import problem_response, problem_responses, response_for
from docuchat_common.ids import DocumentId
from docuchat_gateway.domain import FormPart
from docuchat_gateway.errors import (
    FileTooLarge,
    IdempotencyKeyInvalid,
    RangeUnsatisfiable,
    UploadTooSlow,
)
from docuchat_gateway.forms import MAX_FIELD_BYTES, MAX_PARTS, MultipartForm
from docuchat_gateway.relay import broken_off
from docuchat_gateway.schemas import DeletionOut, DocumentOut
from docuchat_gateway.service import FileService
from docuchat_knowledge.domain import Document, DocumentStatus

router = APIRouter(prefix="/v1/files", tags=["files"])

FORM_OVERHEAD: Final = MAX_FIELD_BYTES * 4 + MAX_PARTS * 1024
"""How much longer than its file a form may be."""

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_RANGE = re.compile(r"bytes=(?:(\d{1,15})-(\d{1,15})?|-(\d{1,15}))")

Responses = dict[int | str, dict[str, Any]]

_UPLOAD_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "A PDF."},
                        "title": {"type": "string", "description": "Else the file's name."},
                        "collection_id": {"type": "string", "format": "uuid", "description": "Else the default one."},
                    },
                }
            }
        },
    }
}

_UPLOAD_RESPONSES: Final[Responses] = {
    200: {"model": DocumentOut, "description": "The same content is there already"},
    **problem_responses(401, 403, 409, 413, 415, 422, 429, 503),
}
_CONTENT_RESPONSES: Final[Responses] = {
    200: {"description": "The file", "content": {"application/pdf": {}}},
    206: {"description": "The part that `Range` asks for", "content": {"application/pdf": {}}},
    304: {"description": "Not modified"},
    **problem_responses(401, 403, 404, 422, 429, 503),
    416: {
        "description": "The range lies outside of the file",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    },
}
_EVENTS_RESPONSES: Final[Responses] = {
    200: {"description": "Events", "content": {"text/event-stream": {}}},
    **problem_responses(401, 403, 404, 422, 429),
}


def files(request: Request) -> FileService:
    """The use cases."""
    service: FileService = request.app.state.container.files
    return service


class _Body:
    """A request body that is counted while it is read, and knows whether its end was seen."""

    def __init__(self, request: Request, limit: int, file_limit: int) -> None:
        self._request = request
        self._limit = limit
        self._file_limit = file_limit
        self._size = 0
        self.touched = False
        self.finished = False

    async def chunks(self) -> AsyncIterator[bytes]:
        declared = self._request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._limit:
            raise self._too_large()
        self.touched = True
        while not self.finished:
            message = await self._request.receive()
            if message["type"] == "http.disconnect":
                self.finished = True
                raise ClientDisconnect
            self.finished = not message.get("more_body", False)
            chunk: bytes = message.get("body", b"")
            self._size += len(chunk)
            if self._size > self._limit:
                raise self._too_large()
            if chunk:
                yield chunk

    def _too_large(self) -> FileTooLarge:
        return FileTooLarge(f"The file is larger than {self._file_limit // 2**20} MB.", max_bytes=self._file_limit)


class _Refusal(Response):
    """A refusal in the midst of a body: answered at once, and only then is the rest of the body taken from the line.

    A server that closes with unread bytes sends a reset, which can destroy the answer before the client has read it; so
    the rest is read and thrown away for a bounded while (a lingering close, as in nginx).
    """

    LINGER_SECONDS: Final = 5.0

    def __init__(self, answer: Response, *, linger_bytes: int) -> None:
        super().__init__(answer.body, answer.status_code)
        self.raw_headers = [*answer.raw_headers, (b"connection", b"close")]
        self._linger_bytes = linger_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        left = self._linger_bytes
        try:
            async with asyncio.timeout(self.LINGER_SECONDS):
                while left > 0:
                    message: Message = await receive()
                    left -= len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        break
        except TimeoutError:
            pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@router.post(
    "",
    status_code=202,
    response_model=DocumentOut,
    summary="Upload a document",
    description="Multipart form with the file in `file`. Answers 202 with a new document, or 200 with the existing one "
    "when its collection holds the same content already. With an `Idempotency-Key` a repetition gets the first answer.",
    openapi_extra=_UPLOAD_BODY,
    responses=_UPLOAD_RESPONSES,
)
async def upload_file(
    request: Request,
    principal: CurrentPrincipal,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> Response:
    container = request.app.state.container
    service = files(request)
    body = _Body(request, service.max_file_bytes + FORM_OVERHEAD, service.max_file_bytes)
    try:
        if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
            raise IdempotencyKeyInvalid
        form = MultipartForm(request.headers.get("content-type"), body.chunks())
        own_slots: asyncio.Semaphore = container.user_upload_slots.setdefault(
            f"{principal.tenant_id}:{principal.user_id}",
            asyncio.Semaphore(max(1, container.settings.max_parallel_uploads // 4)),
        )
        async with asyncio.timeout(container.settings.upload_timeout_seconds), own_slots, container.upload_slots:
            outcome = await service.upload(principal, _to_the_end(form, body), idempotency_key)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody reads it
    except (DocuChatError, TimeoutError) as error:
        problem = error if isinstance(error, DocuChatError) else UploadTooSlow()
        answer = response_for(problem, request.scope.get("request_id"))
        if body.finished:
            return answer
        # a client that waits for "100 Continue" has sent nothing, and must not be asked for it now
        waits = not body.touched and "expect" in request.headers
        return _Refusal(answer, linger_bytes=0 if waits else 2 * service.max_file_bytes)
    document = outcome.document
    headers = {"Location": f"/v1/files/{document.id}"}
    if outcome.replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(
        DocumentOut.of(document).model_dump_json(),
        status_code=202 if outcome.created else 200,
        media_type="application/json",
        headers=headers,
    )


async def _to_the_end(form: MultipartForm, body: _Body) -> AsyncIterator[FormPart]:
    async for part in form.parts():
        yield part
    async for _ in body.chunks():
        pass  # an epilogue after the closing boundary


@router.get("", summary="List documents, newest first", responses=problem_responses(401, 403, 422, 429))
async def list_files(
    request: Request,
    principal: CurrentPrincipal,
    limit: Limit = 20,
    cursor: Cursor = None,
    status: Annotated[DocumentStatus | None, Query(description="Only documents in this state.")] = None,
    q: Annotated[str | None, Query(max_length=200, description="Only documents whose title contains this.")] = None,
) -> Page[DocumentOut]:
    before: DocumentId | None = None
    if cursor is not None:
        try:
            before = DocumentId(UUID(decode_cursor(cursor, 1)[0]))
        except ValueError as error:
            raise InvalidCursor from error
    title_contains = q.replace("\x00", "").strip() if q else None
    found = await files(request).list_documents(
        principal, limit=limit + 1, before=before, status=status, title_contains=title_contains or None
    )
    shown = found[:limit]
    more = len(found) > limit
    return Page(
        items=[DocumentOut.of(document) for document in shown],
        next_cursor=encode_cursor(shown[-1].id) if more else None,
    )


@router.get(
    "/{document_id}", summary="A document and its progress", responses=problem_responses(401, 403, 404, 422, 429)
)
async def get_file(request: Request, principal: CurrentPrincipal, document_id: UUID) -> DocumentOut:
    return DocumentOut.of(await files(request).get(principal, DocumentId(document_id)))


@router.get(
    "/{document_id}/content",
    summary="The file as it was uploaded",
    response_class=Response,
    responses=_CONTENT_RESPONSES,
)
async def get_content(
    request: Request,
    principal: CurrentPrincipal,
    document_id: UUID,
    range_header: Annotated[str | None, Header(alias="Range")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    start, end = _parse_range(range_header)
    service = files(request)
    if if_none_match is not None:
        document = await service.get(principal, DocumentId(document_id))
        if f'"{document.sha256}"' in if_none_match:
            return Response(status_code=304, headers={"ETag": f'"{document.sha256}"'})
    try:
        document, content = await service.open_content(principal, DocumentId(document_id), start, end)
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


def content_disposition(filename: str) -> str:
    """An attachment with any name, safe in a header (RFC 6266, RFC 8187)."""
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


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


@router.delete("/{document_id}", summary="Delete a document now", responses=problem_responses(401, 403, 404, 422, 429))
async def delete_file(request: Request, principal: CurrentPrincipal, document_id: UUID) -> DeletionOut:
    return DeletionOut.of(await files(request).delete(principal, DocumentId(document_id)))


@router.post(
    "/{document_id}/retry",
    status_code=202,
    summary="Process a failed document again",
    responses=problem_responses(401, 403, 404, 409, 422, 429),
)
async def retry_file(request: Request, principal: CurrentPrincipal, document_id: UUID) -> DocumentOut:
    return DocumentOut.of(await files(request).retry(principal, DocumentId(document_id)))


@router.get(
    "/{document_id}/events",
    summary="Progress of a document, pushed",
    description="Server-sent events `progress` whose data is the document; the stream ends when it is ready or failed.",
    response_class=StreamingResponse,
    responses=_EVENTS_RESPONSES,
)
async def watch_file(request: Request, principal: CurrentPrincipal, document_id: UUID) -> StreamingResponse:
    await files(request).get(principal, DocumentId(document_id))  # a 404 must come before the stream begins
    return StreamingResponse(
        _progress(request, principal, DocumentId(document_id)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _progress(request: Request, principal: Principal, document_id: DocumentId) -> AsyncIterator[bytes]:
    settings = request.app.state.container.settings
    loop = asyncio.get_running_loop()
    quiet_since = loop.time()
    poll = timedelta(seconds=settings.progress_poll_seconds)
    try:
        async for document in files(request).watch(principal, document_id, poll=poll):
            if document is not None:
                yield _progress_event(document)
            elif loop.time() - quiet_since >= settings.progress_heartbeat_seconds:
                yield b": still here\n\n"
            else:
                continue
            quiet_since = loop.time()
    except DocuChatError as error:
        yield broken_off(error)


def _progress_event(document: Document) -> bytes:
    return b"event: progress\ndata: " + dumps(DocumentOut.of(document).model_dump(mode="json")) + b"\n\n"
