"""What the usage service counts as stored, over HTTP."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from docuchat_common.contracts.holdings import Corrected, Holding, Holdings
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

    async def correct(self, holdings: Sequence[Holding]) -> int:
        """Count documents as their rows say; answers how many count otherwise now."""
        body = Holdings(items=tuple(holdings)).model_dump(mode="json")
        return (await self._post(self._PATH, body)).corrected

    async def recount(self) -> int:
        """Charge all tenants with what their counted documents come to; answers how many were charged otherwise."""
        corrected, after = 0, 0
        while True:
            answer = await self._post(f"{self._PATH}/sums?after={after}")
            corrected += answer.corrected
            if answer.after is None:
                return corrected
            after = answer.after

    async def _post(self, path: str, body: object = None) -> Corrected:
        answer = await self._client.request_json("POST", path, json=body, headers=self._headers, timeout=self._PATIENCE)
        return Corrected.model_validate(answer)
