"""Challenges that say themselves what they are for, and are good once."""

import hashlib
import hmac
import os
from datetime import timedelta
from typing import Final, Literal

from redis.asyncio import Redis

from docuchat_common.clock import Clock
from docuchat_common.redis import redis_errors_translated
from docuchat_common.sealing import derive_key

Ceremony = Literal["sign-in", "registration"]

LIFETIME: Final = timedelta(minutes=5)
_RANDOM_BYTES: Final = 16
_STATED_BYTES: Final = _RANDOM_BYTES + 8


class Challenges:
    """Random bytes, the moment at which they end, and a MAC over both and what they are for.

    Asking for one costs nothing and keeps nothing, so that nobody can use up what others need; Redis holds those that
    have been used, until they end by themselves.
    """

    def __init__(self, client: Redis, secret: str, clock: Clock) -> None:
        self._client = client
        self._key = derive_key(secret, "passkey-challenge")
        self._clock = clock

    def new(self, ceremony: Ceremony, subject: str = "") -> bytes:
        """A challenge for one ceremony of `subject`."""
        ends_at = int((self._clock.now() + LIFETIME).timestamp())
        stated = os.urandom(_RANDOM_BYTES) + ends_at.to_bytes(8, "big")
        return stated + self._mac(ceremony, subject, stated)

    def is_live(self, challenge: bytes, ceremony: Ceremony, subject: str = "") -> bool:
        """Whether it was made here for this, and not too long ago."""
        stated, mac = challenge[:_STATED_BYTES], challenge[_STATED_BYTES:]
        if not hmac.compare_digest(mac, self._mac(ceremony, subject, stated)):
            return False
        return self._clock.now().timestamp() < int.from_bytes(stated[_RANDOM_BYTES:], "big")

    async def spend(self, challenge: bytes) -> bool:
        """False when it was spent before. Raises UpstreamUnavailable."""
        name = f"auth:challenge:{hashlib.sha256(challenge).hexdigest()[:32]}"
        with redis_errors_translated():
            return bool(await self._client.set(name, 1, nx=True, px=LIFETIME))

    def _mac(self, ceremony: Ceremony, subject: str, stated: bytes) -> bytes:
        return hmac.digest(self._key, f"{ceremony}|{subject}|".encode() + stated, "sha256")
