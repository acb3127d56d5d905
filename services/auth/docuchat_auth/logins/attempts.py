"""Failures at passwords, with budgets that are apart, as codes have them."""

import hashlib
import secrets
from datetime import timedelta
from typing import Final

from redis.asyncio import Redis

from docuchat_auth.codes.domain import GuessBudget
from docuchat_auth.codes.errors import TooManyAttempts
from docuchat_common.rate_limits import Limit, Rate, RateLimiter
from docuchat_common.redis import redis_errors_translated

_HOUR: Final = timedelta(hours=1)
_DEVICE_IS_KNOWN_FOR: Final = timedelta(days=90)


class Attempts:
    """Counts each try before it is made and takes it back when it was right: only failures use a budget up.

    A device that has signed in before has a budget of its own. All others share one of the account's, of which one
    network has a part: who knows an address can hinder a first sign-in from a new device, and nothing else.
    """

    def __init__(self, client: Redis, limiter: RateLimiter, budget: GuessBudget) -> None:
        self._client = client
        self._limiter = limiter
        self._budget = budget

    async def begin(self, subject: str, network: str, device: str | None) -> list[Limit]:
        """Count a try at the account; what to `forgive` when it was right. Raises TooManyAttempts."""
        if await self._knows(subject, device):
            limits = [Limit("password-known", subject, Rate(self._budget.known_failures, _HOUR))]
        else:
            limits = [
                Limit("password-account", subject, Rate(self._budget.failures - self._budget.known_failures, _HOUR)),
                Limit("password-network", f"{subject}:{network}", Rate(self._budget.network_failures, _HOUR)),
            ]
        decision = await self._limiter.hit(*limits)
        if decision is not None and not decision.allowed:
            raise TooManyAttempts(retry_after=decision.reset_after)
        return limits

    async def forgive(self, limits: list[Limit]) -> None:
        """Take a try back that was no failure."""
        await self._limiter.give_back(*limits)

    async def remember(self, subject: str, device: str | None) -> str:
        """The name of a device that has signed in to the account now."""
        name = device or secrets.token_urlsafe(24)
        with redis_errors_translated():
            await self._client.set(_key(subject, name), 1, px=_DEVICE_IS_KNOWN_FOR)
        return name

    async def forget(self, subject: str) -> None:
        """Forget whatever is counted of the account, and its devices. Looks through all keys of the Redis."""
        with redis_errors_translated():
            async for key in self._client.scan_iter(match=f"auth:*{subject}*", count=1000):
                await self._client.unlink(key)

    async def _knows(self, subject: str, device: str | None) -> bool:
        if device is None:
            return False
        with redis_errors_translated():
            return bool(await self._client.exists(_key(subject, device)))


def _key(subject: str, device: str) -> str:
    return f"auth:device:{subject}:{hashlib.sha256(device.encode()).hexdigest()[:32]}"
