"""Uploads: `POST /v1/files`, `/v1/attachments` and `/v1/chatbots/{id}/documents`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Path, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from docuchat_common.audit import audited
from docuchat_common.blobs import BlobStoreUnavailable
from docuchat_common.contracts.chatbots import ChatbotNotFound
from docuchat_common.contracts.holds import HOLD_REFUSED
from docuchat_common.contracts.permissions import Action
from docuchat_common.errors import DocuChatError
from docuchat_common.http.caller import Caller
from docuchat_common.http.claims import Identity
from docuchat_common.http.idempotency import REPLAYED_HEADER, IdempotencyKey, replayed
from docuchat_common.http.identity import CurrentIdentity
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import Responses, raises, response_for
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS, StoredResponse
from docuchat_gateway.documents.domain import FormField, FormPart
from docuchat_gateway.documents.errors import (
    FileEmpty,
    FileRequired,
    FileTooLarge,
    FileTypeRefused,
    MalformedForm,
    NotMultipart,
    ParameterUnsupported,
    PurposeRefused,
    UploadTooSlow,
)
from docuchat_gateway.documents.file_schemas import FileObject
from docuchat_gateway.documents.forms import MAX_FIELD_BYTES, MAX_PARTS, MultipartForm
from docuchat_gateway.documents.places import AttachmentPlace, ChatbotPlace, NamedPlace, Place
from docuchat_gateway.documents.schemas import DocumentView
from docuchat_gateway.documents.spoken import name_purpose
from docuchat_gateway.documents.upload_bodies import EarlyRefusal, Pace, UploadBody
from docuchat_gateway.documents.uploads import UploadService
from docuchat_knowledge.collections.errors import CollectionNotFound, TooManyCollections
from docuchat_knowledge.documents.domain import Document
from docuchat_knowledge.documents.errors import UploadAbandoned

router = APIRouter(tags=["files"], route_class=JsonRoute)

FORM_OVERHEAD: Final = MAX_FIELD_BYTES * 4 + MAX_PARTS * 1024
"""How much longer than its file a form may be."""


def _form(**more: Any) -> dict[str, Any]:
    """The form of an upload, for the OpenAPI document."""
    fields = {
        "file": {"type": "string", "format": "binary", "description": "A PDF."},
        "title": {"type": "string", "description": "Else the file's name."},
        **more,
    }
    schema = {"type": "object", "required": ["file"], "properties": fields}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


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


_REFUSALS: Final = (
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


@router.post(
    "/v1/files",
    status_code=202,
    response_model=DocumentView,
    summary="Upload a document",
    description="Multipart form with the file in `file`. Answers 202 with a new document, or 200 with the existing one "
    "when its collection holds the same content already. With an `Idempotency-Key` a repetition gets the first answer. "
    "With `purpose` (`assistants` or `user_data`) it is answered as OpenAI does: see docs/openai.md.",
    openapi_extra=_form(
        collection_id={"type": "string", "format": "uuid", "description": "Else the default one."},
        purpose={
            "type": "string",
            "enum": ["assistants", "user_data"],
            "description": "The document as OpenAI's clients read it.",
        },
    ),
    responses=_UPLOAD_RESPONSES,
)
@raises(*_REFUSALS, PurposeRefused, ParameterUnsupported)
@audited("document.add")
async def upload_file(
    request: Request,
    caller: Annotated[Caller, requires("documents.add")],
    identity: CurrentIdentity,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    place = NamedPlace(request.app.state.container.settings.max_file_bytes)
    return await _receive(request, identity, "documents.add", place, idempotency_key)


@router.post(
    "/v1/attachments",
    status_code=202,
    response_model=DocumentView,
    summary="Upload a file for a message",
    description="As `POST /v1/files`; name its `id` among the `attachments` of a question. Nobody but you reads it, no "
    "list and no other search finds it, and it goes with the chat that it was used in, or after a day without one.",
    openapi_extra=_form(),
    responses=_UPLOAD_RESPONSES,
)
@raises(*_REFUSALS)
@audited("attachment.add")
async def upload_attachment(
    request: Request,
    caller: Annotated[Caller, requires("chats.use")],
    identity: CurrentIdentity,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    place = AttachmentPlace(request.app.state.container.settings.max_attachment_bytes)
    return await _receive(request, identity, "chats.use", place, idempotency_key)


@router.post(
    "/v1/chatbots/{chatbot_id}/documents",
    status_code=202,
    response_model=DocumentView,
    tags=["chatbots"],
    summary="Upload a document for a chatbot",
    description="As `POST /v1/files`, to the chatbot's own collection, which has its id: "
    "`GET /v1/files?collection_id=` lists it. Each version of the chatbot answers from it.",
    openapi_extra=_form(),
    responses=_UPLOAD_RESPONSES,
)
@raises(ChatbotNotFound, TooManyCollections, *_REFUSALS)
@audited("document.add")
async def upload_chatbot_document(
    request: Request,
    caller: Annotated[Caller, requires("chatbots.manage")],
    identity: CurrentIdentity,
    chatbot_id: Annotated[UUID, Path(description="Id of a chatbot.")],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    container = request.app.state.container
    name = await container.chatbots.find_name(caller.tenant_id, chatbot_id)
    if name is None:
        raise ChatbotNotFound
    place = ChatbotPlace(chatbot_id, name, container.settings.max_file_bytes)
    return await _receive(request, identity, "chatbots.manage", place, idempotency_key)


async def _receive(
    request: Request, identity: Identity, action: Action, place: Place, idempotency_key: str | None
) -> Response:
    container, caller = request.app.state.container, identity.caller
    service: UploadService = container.uploads
    settings = container.settings
    slot = container.upload_slots.slot_of(caller)
    body = UploadBody(
        request,
        slot,
        Pace(settings.upload_idle, settings.upload_bytes_per_second),
        limit=place.max_bytes + FORM_OVERHEAD,
        file_limit=place.max_bytes,
    )
    try:
        form = MultipartForm(request.headers.get("content-type"), body.chunks())
        parts = _to_the_end(form, body, lambda: container.verifier.recheck(identity, action, "POST"))
        async with asyncio.timeout(settings.upload_timeout.total_seconds()):
            outcome = await service.upload(
                caller,
                place,
                _noticed(request, place, parts),
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
        return EarlyRefusal(answer, linger_bytes=0 if waits else 2 * place.max_bytes)
    finally:
        slot.give_up()
    if outcome.replayed:
        return replayed(outcome.response)
    stored = outcome.response
    return Response(stored.body, stored.status, stored.headers, stored.media_type)


def present(document: Document, created: bool, as_file: bool) -> StoredResponse:
    """The answer to an upload; `as_file` as OpenAI's clients know it."""
    if as_file:
        file = FileObject.of(document)
        return StoredResponse(200, file.model_dump_json().encode(), headers={"Location": f"/v1/files/{file.id}"})
    return StoredResponse(
        202 if created else 200,
        DocumentView.of(document).model_dump_json().encode(),
        headers={"Location": f"/v1/files/{document.id}"},
    )


async def _noticed(request: Request, place: Place, parts: AsyncIterator[FormPart]) -> AsyncIterator[FormPart]:
    """The parts; from the one on that names a purpose, refusals are told in OpenAI's words."""
    async for part in parts:
        if isinstance(part, FormField) and part.name == "purpose" and part.name in place.fields:
            name_purpose(request.scope)
        yield part


async def _to_the_end(
    form: MultipartForm, body: UploadBody, require_standing: Callable[[], None]
) -> AsyncIterator[FormPart]:
    """The parts; at the end it raises when who sends them may do so no more: minutes may have passed."""
    async for part in form.parts():
        yield part
    async for _ in body.chunks():
        pass  # an epilogue after the closing boundary
    require_standing()
