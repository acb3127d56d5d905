"""Written by scripts/write_blocking.py from compatible.py: `make openapi` writes it again."""

from __future__ import annotations

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.blocking.runtime import Blocking


class BlockingCompatible(Blocking):
    """The part of a client that speaks as OpenAI's does."""

    _client: AsyncDocuChat

    def token(self) -> str:
        """What this client shows the service, good for a while yet: for other clients of it, as its `api_key`."""
        return self._loop.run(self._client.token())
