"""`POST /v1/files`: upload."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from docuchat_common.audit import audited
from docuchat_common.blobs import BlobStoreUnavailable
from docuchat_common.contracts.holds import HOLD_REFUSED
from docuchat_common.errors import DocuChatError
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import REPLAYED_HEADER, IdempotencyKey, replayed
from docuchat_common.http.identity import CurrentIdentity
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import Responses, raises, response_for
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS, StoredResponse
from docuchat_gateway.documents.domain import FormPart
from docuchat_gateway.documents.errors import (
    FileEmpty,
    FileRequired,
    FileTooLarge,
    FileTypeRefused,
    MalformedForm,
    NotMultipart,
    UploadTooSlow,
)
from docuchat_gateway.documents.forms import MAX_FIELD_BYTES, MAX_PARTS, MultipartForm
from docuchat_gateway.documents.schemas import DocumentView
from docuchat_gateway.documents.upload_bodies import EarlyRefusal, Pace, UploadBody
from docuchat_gateway.documents.uploads import UploadService
from docuchat_knowledge.collections.errors import CollectionNotFound
from docuchat_knowledge.documents.domain import Document
from docuchat_knowledge.documents.errors import UploadAbandoned

router = APIRouter(prefix="/v1/files", tags=["files"], route_class=JsonRoute)

FORM_OVERHEAD: Final = MAX_FIELD_BYTES * 4 + MAX_PARTS * 1024
"""How much longer than its file a form may be."""

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

_HEADERS: Final[dict[str, Any]] = {
    "Location": {"description": "Where the document is.", "schema": {"type": "string"}},
    REPLAYED_HEADER: {
        "description": "`true`: the first answer to the key, again.",
        "schema": {"type": "string"},
    },
}
_UPLOAD_RESPONSES: Final[Responses] = {
    200: {"model": DocumentView, "description": "The same content is there already", "headers": _HEADERS},
    202: {"description": "Taken in", "headers": _HEADERS},
}


@router.post(
    "",
    status_code=202,
    response_model=DocumentView,
    summary="Upload a document",
    description="Multipart form with the file in `file`. Answers 202 with a new document, or 200 with the existing one "
    "when its collection holds the same content already. With an `Idempotency-Key` a repetition gets the first answer.",
    openapi_extra=_UPLOAD_BODY,
    responses=_UPLOAD_RESPONSES,
)
@raises(
    NotMultipart,
    MalformedForm,
    FileRequired,
    FileEmpty,
    FileTooLarge,
    FileTypeRefused,
    UploadTooSlow,
    UploadAbandoned,
    CollectionNotFound,
    BlobStoreUnavailable,
    *IDEMPOTENCY_ERRORS,
    *HOLD_REFUSED,
)
@audited("document.add")
async def upload_file(
    request: Request,
    caller: Annotated[Caller, requires("documents.add")],
    identity: CurrentIdentity,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    container = request.app.state.container
    service: UploadService = container.uploads
    settings = container.settings
    slot = container.upload_slots.slot_of(caller)
    body = UploadBody(
        request,
        slot,
        Pace(settings.upload_idle, settings.upload_bytes_per_second),
        limit=service.max_file_bytes + FORM_OVERHEAD,
        file_limit=service.max_file_bytes,
    )
    try:
        form = MultipartForm(request.headers.get("content-type"), body.chunks())
        async with asyncio.timeout(settings.upload_timeout.total_seconds()):
            outcome = await service.upload(
                caller,
                _to_the_end(form, body, lambda: container.verifier.recheck(identity, "documents.add", "POST")),
                idempotency_key,
                declared_bytes=body.declared_bytes,
            )
    except ClientDisconnect:
        return Response(status_code=400)  # nobody reads it
    except (DocuChatError, TimeoutError) as error:
        if body.finished and isinstance(error, DocuChatError):
            raise  # answered, and told when it is a refusal, as any other route's
        problem = error if isinstance(error, DocuChatError) else UploadTooSlow()
        answer = response_for(problem, request.scope.get("request_id"))
        if body.finished:
            return answer
        # a client that waits for "100 Continue" has sent nothing, and must not be asked for it now
        waits = not body.touched and "expect" in request.headers
        return EarlyRefusal(answer, linger_bytes=0 if waits else 2 * service.max_file_bytes)
    finally:
        slot.give_up()
    if outcome.replayed:
        return replayed(outcome.response)
    stored = outcome.response
    return Response(stored.body, stored.status, stored.headers, stored.media_type)


def present(document: Document, created: bool) -> StoredResponse:
    """The answer to an upload."""
    return StoredResponse(
        202 if created else 200,
        DocumentView.of(document).model_dump_json().encode(),
        headers={"Location": f"/v1/files/{document.id}"},
    )


async def _to_the_end(
    form: MultipartForm, body: UploadBody, require_standing: Callable[[], None]
) -> AsyncIterator[FormPart]:
    """The parts; at the end it raises when who sends them may do so no more: minutes may have passed."""
    async for part in form.parts():
        yield part
    async for _ in body.chunks():
        pass  # an epilogue after the closing boundary
    require_standing()
