"""API keys that were good, remembered in Redis for all gateways. Without it nothing is counted that refuses one."""

from contextlib import suppress
from datetime import timedelta
from typing import Final

from redis.asyncio import Redis

from docuchat_common.redis import REDIS_TROUBLE


class RedisGoodKeys:
    """By the SHA-256 of a key and its address; that a key is known opens nothing, auth is asked all the same."""

    KEPT: Final = timedelta(days=7)

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def knows(self, name: bytes) -> bool:
        """Whether it was noted within `KEPT`."""
        with suppress(*REDIS_TROUBLE):
            return bool(await self._client.exists(_key(name)))
        return False

    async def note(self, name: bytes) -> None:
        """Remember it for `KEPT`."""
        with suppress(*REDIS_TROUBLE):
            await self._client.set(_key(name), 1, px=self.KEPT)


def _key(name: bytes) -> str:
    return f"gateway:good-key:{name.hex()}"
