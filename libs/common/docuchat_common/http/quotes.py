"""Quotes in chat's messages, over HTTP, for who deletes documents."""

from datetime import timedelta

import structlog

from docuchat_common.errors import DocuChatError
from docuchat_common.http.client import ServiceClient
from docuchat_common.http.identity import INTERNAL_HEADER
from docuchat_common.ids import DocumentId, TenantId

logger = structlog.get_logger()


class QuotesClient:
    """Asks chat at once, so that the receipt can count; without an answer the event `document.deleted.v1` does it."""

    def __init__(self, client: ServiceClient, internal_token: str) -> None:
        self._client = client
        self._headers = {INTERNAL_HEADER: internal_token}

    async def forget(self, tenant_id: TenantId, document_id: DocumentId) -> int | None:
        """Empty the quotes of a deleted document; None when chat does not answer in time."""
        try:
            answer = await self._client.request_json(
                "POST",
                f"/internal/documents/{document_id}/forget",
                json={"tenant_id": int(tenant_id)},
                headers=self._headers,
                timeout=timedelta(seconds=1.5),
            )
            return int(answer["quotes"])
        except (DocuChatError, KeyError, TypeError, ValueError) as error:
            logger.warning("document.quotes_left", document_id=str(document_id), error=type(error).__name__)
            return None
