"""Failures at passwords, with budgets that are apart, as codes have them."""

import hashlib
import secrets
from datetime import timedelta
from itertools import chain
from typing import Final
from uuid import UUID

from redis.asyncio import Redis

from docuchat_auth.codes.domain import GuessBudget
from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.users.domain import User
from docuchat_common.ids import TenantId, UserId
from docuchat_common.rate_limits import Limit, Rate, RateLimiter, Rates
from docuchat_common.redis import erase_keys, redis_errors_translated

_HOUR: Final = timedelta(hours=1)
_DEVICE_IS_KNOWN_FOR: Final = timedelta(days=90)
_ANYBODY: Final = "password-anybody"


class Attempts:
    """Counts each try before it is made and takes it back when it was right: only failures use a budget up.

    An account has a budget of its own for each device that has signed in to it before. All other devices share one of
    the address or user name, of which one network has a part: who knows an address can hinder a first sign-in from a
    new device, and nothing else. Over all accounts a network has one more, for who tries a few passwords at many.
    """

    def __init__(self, client: Redis, limiter: RateLimiter, budget: GuessBudget, per_network: Rates) -> None:
        self._client = client
        self._limiter = limiter
        self._budget = budget
        self._per_network = per_network

    def of_device(self, device: str, user_id: UserId) -> list[Limit]:
        """The budget of a device that has signed in to the account."""
        return [Limit("password-known", f"{user_id}:{_digest(device)}", Rate(self._budget.known_failures, _HOUR))]

    def of_strangers(self, subject: str, network: str) -> list[Limit]:
        """The budgets of all others."""
        return [
            Limit("password-account", subject, Rate(self._budget.failures - self._budget.known_failures, _HOUR)),
            Limit("password-network", f"{subject}:{network}", Rate(self._budget.network_failures, _HOUR)),
            *(Limit(_ANYBODY, network, rate) for rate in self._per_network),
        ]

    async def count(self, limits: list[Limit]) -> None:
        """Count a try, which `forgive` takes back. Raises TooManyAttempts."""
        await self._limiter.require(*limits, error=TooManyAttempts)

    async def forgive(self, limits: list[Limit]) -> None:
        """Take a try back that was no failure."""
        await self._limiter.give_back(*limits)

    async def forgive_network(self, limits: list[Limit]) -> None:
        """Take back what the network has used up over all accounts, for a try that was right for one of them."""
        await self.forgive([limit for limit in limits if limit.name == _ANYBODY])

    async def find_known(self, subject: str, device: str | None) -> dict[UserId, TenantId]:
        """The accounts that this device has signed in to by this address or user name."""
        if device is None:
            return {}
        with redis_errors_translated():
            members = await self._client.smembers(_key(subject, _digest(device)))
        found = ((member if isinstance(member, str) else member.decode()).partition(":") for member in members)
        return {UserId(UUID(user_id)): TenantId(int(tenant_id)) for tenant_id, _, user_id in found}

    async def remember(self, subject: str, device: str, user: User) -> None:
        """Keep that this device has signed in to the account."""
        key = _key(subject, _digest(device))
        with redis_errors_translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.sadd(key, _member(user))
                pipe.pexpire(key, _DEVICE_IS_KNOWN_FOR)
                await pipe.execute()

    async def forget_devices(self, subject: str, user: User) -> int:
        """Forget which devices have signed in to one account of an address, how many; others' of that address stay."""
        forgotten = 0
        with redis_errors_translated():
            async for key in self._client.scan_iter(match=_key(subject, "*"), count=1000):
                forgotten += await self._client.srem(key, _member(user))
        return forgotten

    async def forget(self, *subjects: str) -> int:
        """Forget whatever is counted of an account, and its devices; how many keys. Looks through all of Redis."""
        patterns = [(_key(subject, "*"), f"auth:limit:*:*:{subject}:*") for subject in subjects]
        return await erase_keys(self._client, *chain.from_iterable(patterns))


def new_device() -> str:
    """A name for a device, which only that device will know."""
    return secrets.token_urlsafe(24)


def _key(subject: str, device_digest: str) -> str:
    return f"auth:devices:{subject}:{device_digest}"


def _member(user: User) -> str:
    return f"{int(user.tenant_id)}:{user.id}"


def _digest(device: str) -> str:
    return hashlib.sha256(device.encode()).hexdigest()[:32]
