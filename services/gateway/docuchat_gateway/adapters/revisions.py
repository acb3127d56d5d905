"""What auth says of tokens that are out there, over HTTP."""

from datetime import timedelta
from typing import Final
from urllib.parse import quote

from docuchat_common.contracts.revisions import PAGE, PATH, RevisionPage
from docuchat_common.http.client import ServiceClient
from docuchat_common.http.identity import INTERNAL_HEADER


class AuthRevisions:
    """Auth's revisions."""

    _PATIENCE: Final = timedelta(seconds=1.5)
    _PATIENCE_FOR_ALL: Final = timedelta(seconds=10)

    def __init__(self, client: ServiceClient, internal_token: str) -> None:
        self._client = client
        self._headers = {INTERNAL_HEADER: internal_token}

    async def list_after(self, after: str | None) -> RevisionPage:
        """What became visible since the answer with `after`, all when it is None. Raises UpstreamUnavailable."""
        asked = f"{PATH}?limit={PAGE}" + ("" if after is None else f"&after={quote(after)}")
        patience = self._PATIENCE_FOR_ALL if after is None else self._PATIENCE
        first = await self._ask(asked, patience)
        items, following = list(first.items), first.next
        while following is not None:
            page = await self._ask(f"{asked}&page={quote(following)}", patience)
            items += page.items
            following = page.next
        # what changed between two pages is told after the first one's snapshot
        return RevisionPage(items=items, after=first.after)

    async def _ask(self, path: str, patience: timedelta) -> RevisionPage:
        answer = await self._client.request_json("GET", path, headers=self._headers, timeout=patience)
        return RevisionPage.model_validate(answer)
