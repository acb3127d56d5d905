"""Whether a tenant has a user, as auth tells it to the gateway: 204, or 404 `user_not_found`."""

from typing import Final
from uuid import UUID

from docuchat_common.ids import TenantId

PATH: Final = "/internal/tenants/{tenant_id}/users/{user_id}"


def path_of(tenant_id: TenantId, user_id: UUID) -> str:
    """Where auth is asked for one user."""
    return PATH.format(tenant_id=int(tenant_id), user_id=user_id)
