"""Who belongs to a tenant, as the auth service knows it, over HTTP."""

from __future__ import annotations

from uuid import UUID

from docuchat_common.errors import NotFound
from docuchat_common.http.client import ServiceClient
from docuchat_usage.quotas.errors import TenantUnknown, UserUnknown


class TenantUsers:
    """The users of all tenants, for operators, whose token goes on to auth."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    async def assert_one(self, tenant_id: int, user_id: UUID, token: str) -> None:
        """Raise UserUnknown unless the tenant has this user; TenantUnknown, UpstreamUnavailable."""
        path = f"/v1/operator/tenants/{tenant_id}/users?user_id={user_id}"
        try:
            answer = await self._client.request_json("GET", path, headers={"Authorization": f"Bearer {token}"})
        except NotFound as error:
            raise TenantUnknown(f"There is no tenant {tenant_id}; see the list of tenants.") from error
        if not answer["items"]:
            raise UserUnknown(f"Tenant {tenant_id} has no user {user_id}; see the list of its users.")
