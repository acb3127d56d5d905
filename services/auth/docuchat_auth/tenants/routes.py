"""HTTP: the tenant that a request names in its header."""

from typing import Annotated, Any, Final

from fastapi import Depends, Request

from docuchat_auth.tenants.domain import ANY_TENANT
from docuchat_auth.tenants.service import TenantDirectory
from docuchat_common.http.caller import NO_TENANT
from docuchat_common.http.provided import provided
from docuchat_common.ids import TenantId

TENANT_PARAMETER: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": "X-Tenant-ID",
            "in": "header",
            "required": False,
            "description": "The tenant, by its number, its customer id or its slug. Needless where there is only one, "
            "and for who is in one only.",
            "schema": {"type": "string"},
            "example": "1",
        }
    ]
}


async def _persons_tenant(
    request: Request,
    header: Annotated[str, provided("settings.tenant_header")],
    tenants: Annotated[TenantDirectory, provided("tenants")],
) -> TenantId:
    reference = request.headers.get(header, "").strip()
    found = await (tenants.find_by_reference(reference) if reference else tenants.find_only())
    if found is not None:
        return found.id
    return NO_TENANT if reference else ANY_TENANT


PersonsTenant = Annotated[TenantId, Depends(_persons_tenant)]
"""The tenant of the header, or the only one there is.

A tenant that does not exist is NO_TENANT, in which nothing is found: the answer of a request is the same for both, so
that nobody learns which tenants there are. When none is named it is ANY_TENANT: the person's, who chooses among several
after having proven to be in them.
"""
