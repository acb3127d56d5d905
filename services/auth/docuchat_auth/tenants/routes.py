"""HTTP: the tenant that a request names in its header."""

from typing import Annotated, Any, Final

from fastapi import Depends, Request

from docuchat_auth.tenants.service import TenantDirectory
from docuchat_common.http.caller import NO_TENANT
from docuchat_common.http.identity import MissingTenant
from docuchat_common.http.problems import raises
from docuchat_common.ids import TenantId

TENANT_PARAMETER: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": "X-Tenant-ID",
            "in": "header",
            "required": False,
            "description": "The tenant, by its number, its customer id or its slug; needless where there is only one.",
            "schema": {"type": "string"},
            "example": "1",
        }
    ]
}


@raises(MissingTenant)
async def _named_tenant(request: Request) -> TenantId:
    header = request.app.state.container.settings.tenant_header
    reference = request.headers.get(header, "").strip()
    tenants: TenantDirectory = request.app.state.container.tenants
    if not reference:
        only = await tenants.find_only()
        if only is None:
            raise MissingTenant(f"Which tenant? Send its id or slug in the `{header}` header.")
        return only.id
    found = await tenants.find_by_reference(reference)
    return NO_TENANT if found is None else found.id


NamedTenant = Annotated[TenantId, Depends(_named_tenant)]
"""The tenant of the header. A tenant that does not exist is NO_TENANT, in which nothing is found: the answer of a
request is the same for both, so that nobody learns which tenants there are."""
