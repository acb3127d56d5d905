"""In Redis: for which turn a call of an assistant waits, so that it can be cancelled at any process."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from redis.asyncio import Redis

from docuchat_common.ids import TenantId, TurnId
from docuchat_common.redis import REDIS_TROUBLE

logger = structlog.get_logger()

_PREFIX: Final = "chat:calls:"
_CANCELLED: Final = b"cancelled"


def calls_key(tenant_id: TenantId) -> str:
    """Return the pattern of what is kept of a tenant's calls."""
    return f"{_PREFIX}{tenant_id}:*"


class RedisCalls:
    """Running calls; while Redis is down a call cannot be cancelled by a notification."""

    def __init__(self, redis: Redis, *, life: timedelta) -> None:
        """`life`: longer than any call takes."""
        self._redis = redis
        self._life = life

    async def note(self, name: str, turn_id: TurnId) -> None:
        """Remember the turn of a call."""
        try:
            await self._redis.set(_PREFIX + name, str(turn_id), ex=self._life)
        except REDIS_TROUBLE as error:
            logger.warning("call.not_noted", reason=type(error).__name__)

    async def cancel(self, name: str) -> TurnId | None:
        """Remember that a call is cancelled, and return its turn."""
        try:
            known = await self._redis.set(_PREFIX + name, _CANCELLED, ex=self._life, xx=True, get=True)
        except REDIS_TROUBLE as error:
            logger.warning("call.not_cancelled", reason=type(error).__name__)
            return None
        # with `get` it is what stood there before
        return None if not isinstance(known, bytes) or known == _CANCELLED else TurnId(UUID(known.decode()))

    async def is_cancelled(self, name: str) -> bool:
        """Tell whether a call was cancelled."""
        try:
            return await self._redis.get(_PREFIX + name) == _CANCELLED
        except REDIS_TROUBLE:
            return False
