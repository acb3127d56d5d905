"""HTTP: the tenant that a request names in its header."""

from typing import Annotated, Any, Final

from fastapi import Depends, Request

from docuchat_auth.tenants.domain import Tenant
from docuchat_auth.tenants.service import TenantDirectory
from docuchat_common.http.identity import MissingTenant

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


async def _named_tenant(request: Request) -> Tenant:
    header = request.app.state.container.settings.tenant_header
    reference = request.headers.get(header, "").strip()
    if not reference:
        raise MissingTenant(f"Which tenant? Send its id or slug in the `{header}` header.")
    tenants: TenantDirectory = request.app.state.container.tenants
    return await tenants.get_by_reference(reference)


NamedTenant = Annotated[Tenant, Depends(_named_tenant)]
