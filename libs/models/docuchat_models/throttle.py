"""One pause for all workers: after a provider's 429 nobody asks it again before it said so.

A pause belongs to an account, that is to an address and a key: where a tenant brings its own key, only that tenant
waits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from redis.asyncio import Redis

from docuchat_common.redis import REDIS_TROUBLE
from docuchat_models.providers import LONGEST_PAUSE, provider_name

_PREFIX = "docuchat:throttle:"


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


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a provider limits; of the key only a hash leaves the process."""

    base_url: str
    api_key: str = ""

    @property
    def id(self) -> str:
        """A name that tells accounts apart and tells nothing of the key."""
        return hashlib.sha256(f"{self.base_url} {self.api_key}".encode()).hexdigest()[:24]


class RedisThrottle:
    """The pause is a key that expires; its time to live is what remains.

    While Redis is away everybody goes by the provider's answers alone.
    """

    # extend only: the longest pause that anybody was told wins
    _EXTEND = """
    local left = redis.call('PTTL', KEYS[1])
    if left < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1]) end
    return 1
    """

    def __init__(self, redis: Redis, account: Account, *, longest: timedelta = LONGEST_PAUSE) -> None:
        """`longest`: no pause is longer, whoever set it."""
        self._redis = redis
        self._key = _PREFIX + account.id
        self._provider = provider_name(account.base_url)
        self._longest = longest

    async def remaining_pause(self) -> timedelta:
        """Zero when asking is allowed."""
        with suppress(*REDIS_TROUBLE):
            left = int(await self._redis.pttl(self._key))
            return min(timedelta(milliseconds=max(left, 0)), self._longest)
        return timedelta(0)

    async def pause(self, duration: timedelta) -> None:
        """Hold everybody back; a longer pause that is set already stays."""
        milliseconds = max(int(min(duration, self._longest).total_seconds() * 1000), 1)
        with suppress(*REDIS_TROUBLE):
            await self._redis.eval(self._EXTEND, 1, self._key, str(milliseconds), self._provider)


@dataclass(frozen=True, slots=True)
class Pause:
    """A provider account that nobody asks before `until`."""

    account_id: str
    provider: str
    until: datetime


async def list_pauses(redis: Redis) -> Sequence[Pause]:
    """All accounts that are held back now, the longest first."""
    pauses = []
    async for found in redis.scan_iter(match=f"{_PREFIX}*"):
        key = found.decode() if isinstance(found, bytes) else str(found)
        provider, left = await redis.get(key), int(await redis.pttl(key))
        if provider is None or left <= 0:
            continue
        name = provider.decode() if isinstance(provider, bytes) else str(provider)
        until = datetime.now(UTC) + timedelta(milliseconds=left)
        pauses.append(Pause(key.removeprefix(_PREFIX), name, until))
    return sorted(pauses, key=lambda pause: pause.until, reverse=True)


async def end_pauses(redis: Redis, account_id: str | None = None) -> int:
    """End the pause of one account, or of all; returns how many there were."""
    keys = [_PREFIX + pause.account_id for pause in await list_pauses(redis) if account_id in (None, pause.account_id)]
    return int(await redis.delete(*keys)) if keys else 0
