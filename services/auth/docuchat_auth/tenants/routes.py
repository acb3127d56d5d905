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
            "required": True,
            "description": "The tenant, by its id or its slug.",
            "schema": {"type": "string"},
            "example": "1",
        }
    ]
}


@raises(MissingTenant)
async def _named_tenant(request: Request) -> TenantId:
    header = request.app.state.container.settings.tenant_header
    reference = request.headers.get(header, "").strip()
    if not reference:
        raise MissingTenant(f"Which tenant? Send its id or slug in the `{header}` header.")
    tenants: TenantDirectory = request.app.state.container.tenants
    found = await tenants.find_by_reference(reference)
    return NO_TENANT if found is None else found.id


NamedTenant = Annotated[TenantId, Depends(_named_tenant)]
"""The tenant of the header. A tenant that does not exist is NO_TENANT, in which nothing is found: the answer of a
request is the same for both, so that nobody learns which tenants there are."""
