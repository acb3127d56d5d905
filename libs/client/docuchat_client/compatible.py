"""OpenAI's own client for `/v1/chat/completions`, `/v1/responses`, `/v1/embeddings` and files, with this sign-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docuchat_client.calls import Calls

if TYPE_CHECKING:
    from openai import AsyncOpenAI

MISSING = "OpenAI's client is not installed: pip install 'docuchat-client[openai]'."


class Compatible(Calls):
    """The part of a client that speaks as OpenAI's does."""

    def openai(self) -> AsyncOpenAI:
        """The official `openai` client, with this service, sign-in and tenant; close it as its documentation says.

        Tokens are renewed for it. Raises ImportError where the extra `openai` is not installed.
        """
        try:
            from openai import AsyncOpenAI
        except ImportError as error:
            raise ImportError(MISSING) from error
        return AsyncOpenAI(**self._openai_options(), api_key=self.token)

    async def token(self) -> str:
        """What this client shows the service, good for a while yet: for other clients of it, as its `api_key`."""
        return await self._transport.token()

    def _openai_options(self) -> dict[str, Any]:
        return {"base_url": f"{self.base_url}/v1", "default_headers": self._transport.plain_headers()}
