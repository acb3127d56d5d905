"""Tickets for streams of events, in Redis, where neither a ticket nor the token that it stands for can be read."""

import hashlib
import secrets

from redis.asyncio import Redis

from docuchat_common.redis import redis_errors_translated
from docuchat_common.sealing import Seal


class RedisTickets:
    """Each opens one stream, once."""

    def __init__(self, client: Redis, *, seconds: int) -> None:
        """`seconds` is how long a ticket may wait to be used."""
        self._redis = client
        self._seconds = seconds

    async def issue(self, token: str) -> str:
        """A ticket for `token`. Raises UpstreamUnavailable."""
        ticket = secrets.token_urlsafe(32)
        with redis_errors_translated():
            await self._redis.set(_name(ticket), _seal(ticket).close(token.encode()), ex=self._seconds)
        return ticket

    async def redeem(self, ticket: str) -> str | None:
        """The token, once; None when there is no such ticket any more. Raises UpstreamUnavailable."""
        with redis_errors_translated():
            sealed = await self._redis.getdel(_name(ticket))
        token = _seal(ticket).open(sealed) if isinstance(sealed, bytes) else None
        return None if token is None else token.decode()


def _name(ticket: str) -> str:
    return f"gateway:ticket:{hashlib.sha256(ticket.encode()).hexdigest()}"


def _seal(ticket: str) -> Seal:
    return Seal(ticket, "event-ticket")
