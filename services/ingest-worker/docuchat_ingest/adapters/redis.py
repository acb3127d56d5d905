"""Redis: word of a document's progress, and the pause that all workers share. Its absence stops nobody."""

from contextlib import suppress
from datetime import timedelta

import structlog
from redis.asyncio import Redis

from docuchat_common.ids import DocumentId, TenantId
from docuchat_common.redis import REDIS_TROUBLE
from docuchat_models.throttle import RedisThrottle

logger = structlog.get_logger()


class RedisAnnouncer:
    """Publishes on `documents:{tenant}:{document}`, to which the gateway's progress streams listen."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def announce(self, tenant_id: TenantId, document_id: DocumentId) -> None:
        try:
            await self._redis.publish(f"documents:{tenant_id}:{document_id}", str(document_id))
        except REDIS_TROUBLE as error:
            logger.info("progress.unannounced", error=type(error).__name__)


class ForgivingThrottle(RedisThrottle):
    """The shared pause; while Redis is away every worker goes by the provider's answers alone."""

    async def remaining_pause(self) -> timedelta:
        try:
            return await super().remaining_pause()
        except REDIS_TROUBLE:
            return timedelta(0)

    async def pause(self, duration: timedelta) -> None:
        with suppress(*REDIS_TROUBLE):
            await super().pause(duration)
