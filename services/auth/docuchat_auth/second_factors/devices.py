"""Devices that a second factor was shown on, in Redis."""

import hashlib
from datetime import datetime, timedelta
from typing import Final

from redis.asyncio import Redis

from docuchat_auth.users.domain import User
from docuchat_common.redis import redis_errors_translated

_KNOWN_FOR: Final = timedelta(days=90)
_MOST: Final = 100


class KnownDevices:
    """By the names that they show. Whoever has only the first factor makes none known. Raises UpstreamUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def knows(self, user: User, name: str) -> bool:
        """Whether the user has shown a second factor on the device of this name."""
        with redis_errors_translated():
            return bool(name) and await self._client.zscore(_key(user), digest(name)) is not None

    async def remember(self, user: User, name: str, moment: datetime) -> None:
        """Keep that the user has; of many devices the last ones are known."""
        if not name:
            return
        with redis_errors_translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.zadd(_key(user), {digest(name): moment.timestamp()})
                pipe.zremrangebyrank(_key(user), 0, -_MOST - 1)
                pipe.pexpire(_key(user), _KNOWN_FOR)
                await pipe.execute()

    async def forget(self, user: User) -> int:
        """Forget them all; how many keys it was."""
        with redis_errors_translated():
            return int(await self._client.unlink(_key(user)))


def digest(name: str) -> str:
    """What is kept of a name."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def _key(user: User) -> str:
    return f"auth:factors:{int(user.tenant_id)}:{user.id}"
