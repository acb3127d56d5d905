"""Redis: word of a document's progress. Its absence stops nobody."""

import structlog
from redis.asyncio import Redis

from docuchat_common.ids import DocumentId, TenantId
from docuchat_common.redis import REDIS_TROUBLE

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
