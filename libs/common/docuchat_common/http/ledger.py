"""What the usage service's ledger knows, over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from docuchat_common.http.client import ServiceClient
from docuchat_common.http.identity import INTERNAL_HEADER


class UsageLedger:
    """The books, as far as the services that announce usage may ask."""

    def __init__(self, client: ServiceClient, internal_token: str) -> None:
        self._client = client
        self._headers = {INTERNAL_HEADER: internal_token}

    async def known(self, event_ids: Sequence[UUID]) -> set[UUID]:
        """Which of these usage events are booked. Raises UpstreamUnavailable."""
        answer = await self._client.request_json(
            "POST", "/internal/ledger/known", json={"event_ids": list(map(str, event_ids))}, headers=self._headers
        )
        return set(map(UUID, answer["known"]))
