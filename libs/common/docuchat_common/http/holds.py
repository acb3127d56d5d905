"""The usage service's holds over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from docuchat_common.contracts.holds import HoldRenewal, HoldRequest, HoldView
from docuchat_common.http.client import ServiceClient


class HoldsClient:
    """Opens, renews, settles and releases holds.

    Raises QuotaExceeded (spent), RateLimited with code `quota_busy` (only other holds stand in the way), NotFound with
    code `hold_not_found` (settled, released or expired), UpstreamUnavailable (the usage service does not answer).
    """

    PATIENCE: Final = timedelta(seconds=15)
    """How long a hold may take: those of one tenant take turns, and many may be asked for at once."""

    def __init__(self, client: ServiceClient, internal_token: str) -> None:
        self._client = client
        self._headers = {"X-Internal-Token": internal_token}

    async def open(self, request: HoldRequest) -> HoldView:
        """Set the amounts aside for every subject, or for none."""
        body = request.model_dump(mode="json", exclude_defaults=True)
        return HoldView.model_validate(
            await self._client.request_json(
                "POST", "/internal/holds", json=body, headers=self._headers, patience=self.PATIENCE
            )
        )

    async def renew(self, hold_id: UUID, lease: timedelta, tokens: int | None = None) -> HoldView:
        """Let the hold last until `lease` from now at least; give back what exceeds `tokens`."""
        body = HoldRenewal(lease=lease, tokens=tokens).model_dump(mode="json")
        return HoldView.model_validate(
            await self._client.request_json("PATCH", f"/internal/holds/{hold_id}", json=body, headers=self._headers)
        )

    async def release(self, hold_id: UUID) -> None:
        """Give an unused hold back; one that is not open any more is left as it is."""
        await self._client.request_json("DELETE", f"/internal/holds/{hold_id}", headers=self._headers)

    async def settle(self, hold_id: UUID) -> None:
        """Count the held message as sent and give the tokens back; a hold that is not open is left as it is."""
        await self._client.request_json("POST", f"/internal/holds/{hold_id}/settle", headers=self._headers)
