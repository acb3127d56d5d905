"""Redis: word of a document's progress. Its absence stops nobody."""

import structlog
from redis.asyncio import Redis

from docuchat_common.ids import DocumentId, TenantId
from docuchat_common.redis import REDIS_TROUBLE
from docuchat_common.user_events import UserEventWriter
from docuchat_knowledge.documents.domain import DeletionReceipt, holder_of
from docuchat_knowledge.jobs.domain import Claim, WaitingDocument

logger = structlog.get_logger()


class RedisAnnouncer:
    """Tells who uploaded a document, and `documents:{tenant}:{document}`, to which the progress streams listen."""

    def __init__(self, redis: Redis, user_events: UserEventWriter) -> None:
        self._redis = redis
        self._user_events = user_events

    async def announce(self, document: Claim | WaitingDocument) -> None:
        self._user_events.add(holder_of(document.tenant_id, document), "document", document.document_id)
        await self._hint(document.tenant_id, document.document_id)

    async def announce_deletion(self, tenant_id: TenantId, receipt: DeletionReceipt) -> None:
        self._user_events.add(holder_of(tenant_id, receipt), "document_deleted", receipt.id)
        await self._hint(tenant_id, receipt.id)

    async def _hint(self, tenant_id: TenantId, document_id: DocumentId) -> None:
        try:
            await self._redis.publish(f"documents:{tenant_id}:{document_id}", str(document_id))
        except REDIS_TROUBLE as error:
            logger.info("progress.unannounced", error=type(error).__name__)
