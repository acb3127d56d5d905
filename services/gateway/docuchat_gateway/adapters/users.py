"""Who is a user of a tenant, as auth knows, over HTTP."""

from uuid import UUID

from docuchat_common.contracts.users import path_of
from docuchat_common.errors import NotFound
from docuchat_common.http.client import ServiceClient
from docuchat_common.http.identity import INTERNAL_HEADER
from docuchat_common.ids import TenantId


class AuthUsers:
    """Auth's users. Every call may raise UpstreamUnavailable."""

    def __init__(self, client: ServiceClient, internal_token: str) -> None:
        self._client = client
        self._headers = {INTERNAL_HEADER: internal_token}

    async def has(self, tenant_id: TenantId, user_id: UUID) -> bool:
        """Whether a tenant has this user."""
        try:
            await self._client.request_json("GET", path_of(tenant_id, user_id), headers=self._headers)
        except NotFound:
            return False
        return True
