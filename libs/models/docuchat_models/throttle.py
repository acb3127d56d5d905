"""One pause for all workers: after a provider's 429 nobody asks it again before it said so."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Protocol

from redis.asyncio import Redis


class Throttle(Protocol):
    """Port: how long to hold back, shared by every process that uses the same provider account."""

    async def remaining_pause(self) -> timedelta:
        """Zero when asking is allowed."""
        ...

    async def pause(self, duration: timedelta) -> None:
        """Hold everybody back; a longer pause that is set already stays."""
        ...


class NoThrottle:
    """For models inside the process, which nobody limits."""

    async def remaining_pause(self) -> timedelta:
        """Always zero."""
        return timedelta(0)

    async def pause(self, duration: timedelta) -> None:
        """Nothing to hold back."""


class RedisThrottle:
    """The pause is a key that expires; its time to live is what remains. Accounts differ by address and key, hashed."""

    # extend only: the longest pause that anybody was told wins
    _EXTEND = """
    local left = redis.call('PTTL', KEYS[1])
    if left < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
    return 1
    """

    def __init__(self, redis: Redis, *, account: str) -> None:
        """`account` tells provider accounts apart, such as base URL and API key; only its hash is used."""
        self._redis = redis
        self._key = f"docuchat:throttle:{hashlib.sha256(account.encode()).hexdigest()[:24]}"

    async def remaining_pause(self) -> timedelta:
        """Zero when asking is allowed."""
        left = await self._redis.pttl(self._key)
        return timedelta(milliseconds=max(int(left), 0))

    async def pause(self, duration: timedelta) -> None:
        """Hold everybody back; a longer pause that is set already stays."""
        milliseconds = max(int(duration.total_seconds() * 1000), 1)
        await self._redis.eval(self._EXTEND, 1, self._key, str(milliseconds))
