"""Which chatbots there are, as chat knows, over HTTP."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from docuchat_common.contracts.chatbot_names import ChatbotName, path_of
from docuchat_common.errors import NotFound
from docuchat_common.http.client import ServiceClient
from docuchat_common.http.identity import INTERNAL_HEADER
from docuchat_common.ids import TenantId


class ChatChatbots:
    """Chat's chatbots. Every call may raise UpstreamUnavailable."""

    def __init__(self, client: ServiceClient, internal_token: str) -> None:
        self._client = client
        self._headers = {INTERNAL_HEADER: internal_token}

    async def find_name(self, tenant_id: TenantId, chatbot_id: UUID) -> str | None:
        """What a tenant's chatbot is called; None when there is none."""
        try:
            answer = await self._client.request_json("GET", path_of(tenant_id, chatbot_id), headers=self._headers)
        except NotFound:
            return None
        return ChatbotName.model_validate(answer).name

    async def get_seen(self, chatbot_id: UUID, token: str) -> Mapping[str, Any]:
        """A chatbot as chat shows it to the holder of this access token; raises what chat does."""
        headers = {**self._headers, "Authorization": f"Bearer {token}"}
        seen: Mapping[str, Any] = await self._client.request_json("GET", f"/v1/chatbots/{chatbot_id}", headers=headers)
        return seen
