"""The usage service behind the Holds port."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import structlog

from docuchat_chat.answers.domain import Asker
from docuchat_chat.turns.domain import Hold
from docuchat_common.errors import DocuChatError
from docuchat_common.http.client import ServiceClient
from docuchat_common.ids import HoldId

logger = structlog.get_logger()


class UsageHolds:
    """Opens, renews and releases holds over HTTP."""

    def __init__(self, client: ServiceClient, internal_token: str, lease: timedelta, provider: str) -> None:
        self._client = client
        self._headers = {"X-Internal-Token": internal_token}
        self._provider = provider
        self._lease_seconds = int(lease.total_seconds())

    async def open(self, asker: Asker, model: str, input_tokens: int, max_output_tokens: int) -> Hold:
        """Keep tokens back."""
        answer = await self._client.request_json(
            "POST",
            "/internal/holds",
            json={
                "tenant_id": asker.tenant_id,
                "user_id": str(asker.user_id),
                "chatbot_id": None,
                "kind": "chat",
                "provider": self._provider,
                "model": model,
                "input_tokens": input_tokens,
                "max_output_tokens": max_output_tokens,
                "lease_seconds": self._lease_seconds,
            },
            headers=self._headers,
        )
        return Hold(HoldId(UUID(answer["hold_id"])), max(int(answer["tokens"]) - max_output_tokens, 0))

    async def renew(self, hold_id: HoldId, tokens: int | None = None) -> None:
        """Renew the lease, and shrink the hold when `tokens` is given."""
        body: dict[str, int] = {"lease_seconds": self._lease_seconds}
        if tokens is not None:
            body["tokens"] = tokens
        try:
            await self._client.request_json("PATCH", f"/internal/holds/{hold_id}", json=body, headers=self._headers)
        except DocuChatError as error:
            logger.warning("hold.not_renewed", hold_id=str(hold_id), reason=error.code)

    async def release(self, hold_id: HoldId) -> None:
        """Give a hold back of which nothing was used."""
        try:
            await self._client.request_json("DELETE", f"/internal/holds/{hold_id}", headers=self._headers)
        except DocuChatError as error:
            logger.warning("hold.not_released", hold_id=str(hold_id), reason=error.code)
