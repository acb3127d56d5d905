"""What the usage service counts as stored, over HTTP."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from docuchat_common.contracts.holdings import Holding, Holdings
from docuchat_common.http.client import ServiceClient
from docuchat_common.http.identity import INTERNAL_HEADER


class UsageHoldings:
    """The counted documents of all tenants. Every call may raise UpstreamUnavailable."""

    _PATH: Final = "/internal/holdings"
    _PATIENCE: Final = timedelta(seconds=10)

    def __init__(self, client: ServiceClient, internal_token: str) -> None:
        self._client = client
        self._headers = {INTERNAL_HEADER: internal_token}

    async def list_counted(self, after: UUID | None, limit: int) -> Sequence[Holding]:
        """A page of them, by id."""
        query = f"?limit={limit}" + ("" if after is None else f"&after={after}")
        answer = await self._client.request_json(
            "GET", self._PATH + query, headers=self._headers, timeout=self._PATIENCE
        )
        return Holdings.model_validate(answer).items

    async def correct(self, holdings: Sequence[Holding]) -> None:
        """Count documents as their rows say."""
        body = Holdings(items=tuple(holdings)).model_dump(mode="json")
        await self._client.request_json("POST", self._PATH, json=body, headers=self._headers, timeout=self._PATIENCE)
