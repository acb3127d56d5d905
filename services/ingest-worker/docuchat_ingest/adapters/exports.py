"""What other services keep of a tenant, over HTTP."""

from collections.abc import AsyncGenerator
from typing import Final

import aiohttp

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.exporting import PATH, Exported
from docuchat_common.http.identity import INTERNAL_HEADER

_PATIENCE: Final = aiohttp.ClientTimeout(total=None, sock_connect=2, sock_read=60)


class ServiceSource:
    """One service, asked with the internal token."""

    def __init__(self, session: aiohttp.ClientSession, url: str, name: str, internal_token: str) -> None:
        self._session = session
        self._url = url.rstrip("/") + PATH
        self._name = name
        self._headers = {INTERNAL_HEADER: internal_token}

    async def lines(self, whose: Exported) -> AsyncGenerator[bytes, None]:
        """Raises UpstreamUnavailable, also when the answer breaks off."""
        asked = [("tenant_id", str(whose.tenant_id)), *(("key_id", str(key)) for key in whose.key_ids)]
        if whose.user_id is not None:
            asked.append(("user_id", str(whose.user_id)))
        try:
            async with self._session.get(self._url, params=asked, headers=self._headers, timeout=_PATIENCE) as response:
                if response.status != 200:
                    raise UpstreamUnavailable(f"The {self._name} service cannot tell what it keeps now.")
                async for chunk in response.content.iter_any():
                    yield chunk
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamUnavailable(f"The {self._name} service broke off telling what it keeps.") from error
