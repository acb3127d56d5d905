"""What auth gives for an API key, over HTTP."""

from docuchat_common.contracts.api_keys import PATH, KeyExchange, KeyToken
from docuchat_common.http.client import ServiceClient
from docuchat_common.http.identity import INTERNAL_HEADER


class AuthKeyExchange:
    """Auth's exchange of keys for tokens."""

    def __init__(self, client: ServiceClient, internal_token: str) -> None:
        self._client = client
        self._headers = {INTERNAL_HEADER: internal_token}

    async def exchange(self, key: str, address: str) -> KeyToken:
        """A token for `key`. Raises what auth answers, and UpstreamUnavailable."""
        body = KeyExchange(key=key, address=address).model_dump()
        return KeyToken.model_validate(await self._client.request_json("POST", PATH, json=body, headers=self._headers))
