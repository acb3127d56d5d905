"""Holds at the usage service."""

from datetime import timedelta

import structlog

from docuchat_common.errors import DocuChatError
from docuchat_common.http.client import ServiceClient
from docuchat_common.ids import HoldId
from docuchat_knowledge.jobs.domain import Claim

logger = structlog.get_logger()


class UsageQuota:
    """Holds at the usage service over HTTP."""

    def __init__(self, client: ServiceClient, internal_token: str) -> None:
        self._client = client
        self._headers = {"X-Internal-Token": internal_token}

    async def hold(self, claim: Claim, model: str, tokens: int, lease: timedelta) -> HoldId:
        body = {
            "tenant_id": claim.tenant_id,
            "user_id": None if claim.uploaded_by is None else str(claim.uploaded_by),
            "chatbot_id": None,
            "kind": "embedding",
            "model": model,
            "input_tokens": tokens,
            "max_output_tokens": 0,
            "lease_seconds": lease.total_seconds(),
        }
        answer = await self._client.request_json("POST", "/internal/holds", json=body, headers=self._headers)
        return HoldId(answer["hold_id"])

    async def renew(self, hold_id: HoldId, lease: timedelta, tokens: int | None = None) -> None:
        body: dict[str, float] = {"lease_seconds": lease.total_seconds()}
        if tokens is not None:
            body["tokens"] = tokens
        await self._change("PATCH", hold_id, body)

    async def drop(self, hold_id: HoldId) -> None:
        await self._change("DELETE", hold_id, None)

    async def _change(self, method: str, hold_id: HoldId, body: dict[str, float] | None) -> None:
        try:
            await self._client.request_json(method, f"/internal/holds/{hold_id}", json=body, headers=self._headers)
        except DocuChatError as error:
            logger.info("hold.unchanged", method=method, hold_id=str(hold_id), code=error.code)
