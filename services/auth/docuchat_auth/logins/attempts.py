"""Failures at passwords, with budgets that are apart, as codes have them."""

import hashlib
import secrets
from datetime import timedelta
from typing import Final
from uuid import UUID

from redis.asyncio import Redis

from docuchat_auth.codes.domain import GuessBudget
from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.users.domain import User
from docuchat_common.ids import TenantId, UserId
from docuchat_common.rate_limits import Limit, Rate, RateLimiter, Rates
from docuchat_common.redis import forget_keys, note_key, noted_keys, redis_errors_translated

_HOUR: Final = timedelta(hours=1)
_DEVICE_IS_KNOWN_FOR: Final = timedelta(days=90)
_ANYBODY: Final = "password-anybody"
_NAMES: Final = "keys"
"""In the place of a device: the names of the keys of an account."""


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
        rate = Rate(self._budget.known_failures, _HOUR)
        return [Limit("password-known", f"{user_id}:{_digest(device)}", rate, of=str(user_id))]

    def of_strangers(self, subject: str, network: str) -> list[Limit]:
        """The budgets of all others."""
        of_all = Rate(self._budget.failures - self._budget.known_failures, _HOUR)
        of_network = Rate(self._budget.network_failures, _HOUR)
        return [
            Limit("password-account", subject, of_all, of=subject),
            Limit("password-network", f"{subject}:{network}", of_network, of=subject),
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
                note_key(pipe, _key(subject, _NAMES), key, _DEVICE_IS_KNOWN_FOR)
                await pipe.execute()

    async def forget_devices(self, subject: str, user: User) -> int:
        """Forget which devices have signed in to one account of an address, how many; others' of that address stay."""
        forgotten = 0
        for key in await noted_keys(self._client, _key(subject, _NAMES)):
            with redis_errors_translated():
                forgotten += await self._client.srem(key, _member(user))
        return forgotten

    async def forget(self, *subjects: str) -> int:
        """Forget whatever is counted of an account, and its devices; how many keys."""
        devices = await forget_keys(self._client, *(_key(subject, _NAMES) for subject in subjects))
        return devices + await self._limiter.forget(*subjects)


def new_device() -> str:
    """A name for a device, which only that device will know."""
    return secrets.token_urlsafe(24)


def _key(subject: str, device_digest: str) -> str:
    return f"auth:devices:{subject}:{device_digest}"


def _member(user: User) -> str:
    return f"{int(user.tenant_id)}:{user.id}"


def _digest(device: str) -> str:
    return hashlib.sha256(device.encode()).hexdigest()[:32]
