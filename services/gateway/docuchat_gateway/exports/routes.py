"""`/v1/exports`: archives of all that is kept of the tenant, or of one of its people."""

from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from pydantic import ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from docuchat_common.audit import audited
from docuchat_common.blobs import BlobStoreUnavailable
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import CurrentCreation, created
from docuchat_common.http.identity import CurrentIdentity
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Page, Paging
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import Responses, raises
from docuchat_common.http.provided import provided
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS
from docuchat_gateway.exports.errors import PersonNotFound, TooManyExports
from docuchat_gateway.exports.following import FollowedResponse
from docuchat_gateway.exports.schemas import ExportView
from docuchat_gateway.exports.service import ExportService
from docuchat_knowledge.exports.errors import ExportNotFound, ExportNotReady, ExportRunning

router = APIRouter(prefix="/v1", tags=["exports"], route_class=JsonRoute)

ARCHIVE: Final = "application/zip"
_ARCHIVE_RESPONSES: Final[Responses] = {
    200: {
        "description": "The archive, as docs/export.md describes it",
        "content": {ARCHIVE: {"schema": {"type": "string", "format": "binary"}}},
        "headers": {"Content-Disposition": {"description": "An attachment.", "schema": {"type": "string"}}},
    }
}

Exports = Annotated[ExportService, provided("exports")]
Owner = Annotated[Caller, requires("tenant.own", is_read=True)]
Person = Annotated[Caller, requires("data.export", is_read=True)]
Reader = Annotated[Caller, requires("data.export")]
ExportPath = Annotated[UUID, Path(description="Id of an export.")]


def _whose(value: object, is_one: ValidatorFunctionWrapHandler) -> object:
    try:
        return is_one(value)
    except ValidationError as error:
        raise ValueError("must be the id of a user of the tenant, or `me`") from error


UserPath = Annotated[
    UUID | Literal["me"], WrapValidator(_whose), Path(description="Id of a user of the tenant, or `me`.")
]


@router.post(
    "/tenant/export",
    summary="Ask for an archive of the tenant",
    status_code=202,
    response_model=ExportView,
)
@raises(ExportRunning, TooManyExports, *IDEMPOTENCY_ERRORS)
@audited("tenant.export")
async def export_tenant(caller: Owner, exports: Exports, creating: CurrentCreation) -> Response:
    """All that is kept of the tenant: people, documents with their originals, chats, usage, audit log; no secrets.

    One is made at a time; it is ready within minutes, and kept for a week or until the next one is there.
    """
    return await creating.once(
        caller,
        None,
        lambda settle: exports.request(caller, None, settle),
        lambda export: created(ExportView.of(export), 202),
        about=lambda export: export.id,
    )


@router.post(
    "/users/{user_id}/export",
    summary="Ask for an archive of one person",
    status_code=202,
    response_model=ExportView,
)
@raises(PersonNotFound, ExportRunning, TooManyExports, UpstreamUnavailable, *IDEMPOTENCY_ERRORS)
@audited("user.export")
async def export_user(caller: Person, exports: Exports, creating: CurrentCreation, user_id: UserPath) -> Response:
    """What is about this person: profile, sessions, chats, documents, usage, audit entries. Oneself, or for admins.

    An archive that somebody else asked for has no chats; the person sees that it was asked for.
    """
    whose = caller.maker_id if user_id == "me" else user_id
    if whose is None:  # a key of the tenant's is nobody
        raise PersonNotFound
    return await creating.once(
        caller,
        None,
        lambda settle: exports.request(caller, whose, settle),
        lambda export: created(ExportView.of(export), 202),
        about=lambda export: export.id,
    )


@router.get("/exports", summary="List exports, newest first")
async def list_exports(caller: Reader, exports: Exports, paging: Paging) -> Page[ExportView]:
    """Those that you may fetch."""
    found = await exports.page(caller, limit=paging.rows, before=paging.after(1, UUID))
    return paging.page(found, ExportView.of, lambda export: (export.id,))


@router.get("/exports/{export_id}", summary="An export and how far it has come")
@raises(ExportNotFound)
async def get_export(caller: Reader, exports: Exports, export_id: ExportPath) -> ExportView:
    return ExportView.of(await exports.get(caller, export_id))


@router.get(
    "/exports/{export_id}/archive",
    summary="Fetch an archive",
    response_class=Response,
    responses=_ARCHIVE_RESPONSES,
)
@raises(ExportNotFound, ExportNotReady, BlobStoreUnavailable)
@audited("export.fetch")
async def fetch_export(
    request: Request, caller: Reader, identity: CurrentIdentity, exports: Exports, export_id: ExportPath
) -> Response:
    """A zip archive; that it was fetched stands in the audit log."""
    content = await exports.open(caller, export_id)
    headers = {
        "Content-Length": str(content.size),
        "Content-Disposition": f'attachment; filename="docuchat-{export_id}.zip"',
        "Cache-Control": "private, no-store",
    }
    following = request.app.state.container.verifier.standing.following(identity, request.method)
    return FollowedResponse(content.chunks, following, media_type=ARCHIVE, headers=headers)
