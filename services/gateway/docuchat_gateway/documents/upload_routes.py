"""`POST /v1/files`: upload."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from docuchat_common.errors import DocuChatError
from docuchat_common.http.identity import CurrentCaller
from docuchat_common.http.problems import problem_responses, response_for
from docuchat_gateway.documents.domain import FormPart
from docuchat_gateway.documents.errors import IdempotencyKeyInvalid, UploadTooSlow
from docuchat_gateway.documents.forms import MAX_FIELD_BYTES, MAX_PARTS, MultipartForm
from docuchat_gateway.documents.schemas import DocumentOut
from docuchat_gateway.documents.upload_bodies import EarlyRefusal, UploadBody
from docuchat_gateway.documents.uploads import UploadService

router = APIRouter(prefix="/v1/files", tags=["files"])

FORM_OVERHEAD: Final = MAX_FIELD_BYTES * 4 + MAX_PARTS * 1024
"""How much longer than its file a form may be."""

_KEY = re.compile(r"[\x21-\x7e]{1,255}")

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
    caller: CurrentCaller,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> Response:
    container = request.app.state.container
    service: UploadService = container.uploads
    body = UploadBody(request, service.max_file_bytes + FORM_OVERHEAD, service.max_file_bytes)
    try:
        if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
            raise IdempotencyKeyInvalid
        form = MultipartForm(request.headers.get("content-type"), body.chunks())
        own_slots: asyncio.Semaphore = container.user_upload_slots.setdefault(
            caller.subject,
            asyncio.Semaphore(max(1, container.settings.max_parallel_uploads // 4)),
        )
        async with asyncio.timeout(container.settings.upload_timeout_seconds), own_slots, container.upload_slots:
            outcome = await service.upload(caller, _to_the_end(form, body), idempotency_key)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody reads it
    except (DocuChatError, TimeoutError) as error:
        problem = error if isinstance(error, DocuChatError) else UploadTooSlow()
        answer = response_for(problem, request.scope.get("request_id"))
        if body.finished:
            return answer
        # a client that waits for "100 Continue" has sent nothing, and must not be asked for it now
        waits = not body.touched and "expect" in request.headers
        return EarlyRefusal(answer, linger_bytes=0 if waits else 2 * service.max_file_bytes)
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


async def _to_the_end(form: MultipartForm, body: UploadBody) -> AsyncIterator[FormPart]:
    async for part in form.parts():
        yield part
    async for _ in body.chunks():
        pass  # an epilogue after the closing boundary
