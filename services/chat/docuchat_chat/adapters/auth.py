"""The auth service: what opens chatbots."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from docuchat_common.contracts.chatbots import Credentials, IssuedCredentials, Rotation, path_of, rotate_path_of
from docuchat_common.http.caller import Caller
from docuchat_common.http.client import ServiceClient
from docuchat_common.http.identity import INTERNAL_HEADER
from docuchat_common.ids import ChatbotId, TenantId

PATIENCE: Final = timedelta(seconds=5)
"""Making a secret is more than a lookup, and one that was made unheard is of use to nobody."""
_VALID: Final = PATIENCE + timedelta(seconds=5)
"""How long auth may still do what it is asked: clocks of two machines may differ by the rest."""


class ChatbotCredentials:
    """Keys of chatbots, and the pages that may show them."""

    def __init__(self, client: ServiceClient, internal_token: str) -> None:
        self._client = client
        self._headers = {INTERNAL_HEADER: internal_token}

    async def put(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, origins: Sequence[str], by: Caller
    ) -> IssuedCredentials:
        """Let a chatbot have a key, shown when it is made, and pages of these origins."""
        asked = _asked(tenant_id) | {"made_by": by.subject_id, "made_by_type": by.subject_type}
        body = Credentials.model_validate(asked | {"origins": tuple(origins)})
        return IssuedCredentials.model_validate(
            await self._ask("PUT", path_of(chatbot_id), body.model_dump(mode="json"))
        )

    async def rotate(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, overlap: timedelta, by: Caller
    ) -> IssuedCredentials:
        """Give the key another secret; the one before goes on for as long as they overlap."""
        asked = _asked(tenant_id) | {"by": by.subject_id, "by_type": by.subject_type}
        body = Rotation.model_validate(asked | {"overlap_seconds": int(overlap.total_seconds())})
        issued = await self._ask("POST", rotate_path_of(chatbot_id), body.model_dump(mode="json"))
        return IssuedCredentials.model_validate(issued)

    async def end(self, tenant_id: TenantId, chatbot_id: ChatbotId) -> None:
        """End the key and all visitors."""
        await self._ask("DELETE", f"{path_of(chatbot_id)}?tenant_id={tenant_id}", None)

    async def _ask(self, method: str, path: str, body: Any) -> Any:
        return await self._client.request_json(method, path, json=body, headers=self._headers, timeout=PATIENCE)


def _asked(tenant_id: TenantId) -> dict[str, Any]:
    return {"tenant_id": tenant_id, "valid_until": datetime.now(UTC) + _VALID}
