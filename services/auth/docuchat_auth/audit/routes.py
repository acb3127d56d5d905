"""HTTP of the audit log: a tenant's for its admins, the installation's for operators."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from docuchat_auth.audit.domain import Filter
from docuchat_auth.audit.schemas import CSV_COLUMNS, AuditEntry, AuditVerification, csv_line, csv_of
from docuchat_auth.audit.service import AuditLog
from docuchat_auth.tenants.errors import TenantNotFound
from docuchat_auth.tenants.service import TenantDirectory
from docuchat_common.http.caller import NO_TENANT, Caller
from docuchat_common.http.identity import current_operator
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Page, Paging, number
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.ids import TenantId

router = APIRouter(route_class=JsonRoute, tags=["audit"], prefix="/v1/audit")
operator = APIRouter(
    route_class=JsonRoute, tags=["operators"], prefix="/v1/operator/audit", dependencies=[Depends(current_operator)]
)

_CSV: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "A page; as CSV all of it"}
}


def _of_actor(value: object, is_id: ValidatorFunctionWrapHandler) -> object:
    try:
        return is_id(value)
    except ValidationError as error:
        raise ValueError("must be the id of a user, key or operator; `GET /v1/users` has those of users") from error


async def _wanted(
    actor: Annotated[
        Annotated[UUID, WrapValidator(_of_actor)] | None,
        Query(description="Only what the user, key or operator of this id did."),
    ] = None,
    action: Annotated[str | None, Query(max_length=100, examples=["document.delete"])] = None,
    object: Annotated[  # noqa: A002 - the name of the parameter
        str | None, Query(max_length=300, description="A type, or `type:id`.", examples=["document"])
    ] = None,
    since: Annotated[AwareDatetime | None, Query(alias="from", description="From this moment on.")] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to", description="Before this moment.")] = None,
) -> Filter:
    kind, _, object_id = (object or "").replace("\x00", "").partition(":")
    return Filter(
        actor=actor,
        action=action.replace("\x00", "") if action else None,
        object_type=kind or None,
        object_id=object_id or None,
        since=since,
        until=until,
    )


Log = Annotated[AuditLog, provided("audit")]
Wanted = Annotated[Filter, Depends(_wanted)]


@router.get("", summary="Read the audit log", response_model=Page[AuditEntry], responses=_CSV)
async def list_audit(
    request: Request, caller: Annotated[Caller, requires("audit.read")], log: Log, wanted: Wanted, paging: Paging
) -> Response | Page[AuditEntry]:
    """Who did what in the tenant, the latest first; with `Accept: text/csv` all of it as one file."""
    return await _answer(request, log, caller.tenant_id, wanted, paging)


@operator.get("", summary="Read the audit log of the installation", response_model=Page[AuditEntry], responses=_CSV)
async def list_operator_audit(
    request: Request, log: Log, wanted: Wanted, paging: Paging
) -> Response | Page[AuditEntry]:
    """What operators and their commands did, the latest first; with `Accept: text/csv` all of it as one file."""
    return await _answer(request, log, NO_TENANT, wanted, paging)


@operator.get("/verify", summary="Look whether an audit log holds")
@raises(TenantNotFound)
async def verify_audit(
    log: Log,
    tenants: Annotated[TenantDirectory, provided("tenants")],
    tenant: Annotated[str | None, Query(description="Its id or slug; the installation's log without.")] = None,
    after: Annotated[int, Query(ge=0, lt=2**63, description="The `next_after` of the call before.")] = 0,
) -> AuditVerification:
    """Compute the chain of hashes again: a changed, missing or added entry shows."""
    chain = NO_TENANT if tenant is None else (await tenants.get_by_reference(tenant)).id
    return AuditVerification.of(await log.verify(chain, after))


async def _answer(
    request: Request, log: AuditLog, chain: TenantId, wanted: Filter, paging: Paging
) -> Response | Page[AuditEntry]:
    if "text/csv" in request.headers.get("accept", ""):
        return StreamingResponse(
            _lines(log, chain, wanted),
            media_type="text/csv",
            headers={"Content-Disposition": 'attachment; filename="audit.csv"'},
        )
    found = await log.page(chain, wanted, paging.after(1, number), paging.rows)
    return paging.page(found, AuditEntry.of, lambda link: (link.seq,))


async def _lines(log: AuditLog, chain: TenantId, wanted: Filter) -> AsyncIterator[bytes]:
    yield csv_line(list(CSV_COLUMNS))
    async for link in log.every(chain, wanted):
        yield csv_of(link)
