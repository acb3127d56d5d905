"""What is still there of chats and chatbots, as chat knows, over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from docuchat_common.contracts.attachments import UNUSED_PATH, Attachments
from docuchat_common.contracts.chatbot_names import GONE_PATH, ChatbotIds
from docuchat_common.http.client import ServiceClient
from docuchat_common.http.identity import INTERNAL_HEADER
from docuchat_common.ids import DocumentId, TenantId


class Chats:
    """Chat's chats and chatbots."""

    def __init__(self, client: ServiceClient, internal_token: str) -> None:
        self._client = client
        self._headers = {INTERNAL_HEADER: internal_token}

    async def find_unused(self, tenant_id: TenantId, document_ids: Sequence[DocumentId]) -> Sequence[DocumentId]:
        """Tell which of these attachments are in no chat. Raises UpstreamUnavailable."""
        asked = Attachments(tenant_id=tenant_id, document_ids=tuple(document_ids))
        answer = await self._client.request_json(
            "POST", UNUSED_PATH, json=asked.model_dump(mode="json"), headers=self._headers
        )
        return [DocumentId(document_id) for document_id in Attachments.model_validate(answer).document_ids]

    async def find_gone(self, tenant_id: TenantId, chatbot_ids: Sequence[UUID]) -> Sequence[UUID]:
        """Tell which of these chatbots are gone. Raises UpstreamUnavailable."""
        asked = ChatbotIds(tenant_id=tenant_id, chatbot_ids=tuple(chatbot_ids))
        answer = await self._client.request_json(
            "POST", GONE_PATH, json=asked.model_dump(mode="json"), headers=self._headers
        )
        return ChatbotIds.model_validate(answer).chatbot_ids
