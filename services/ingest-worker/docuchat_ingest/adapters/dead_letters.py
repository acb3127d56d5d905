"""The dead-letter queue of the tickets."""

import aio_pika
import structlog

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import DocumentUploaded
from docuchat_common.messaging.broker import BROKER_ERRORS, Broker
from docuchat_common.messaging.topology import dead_letter_queue, queue_name
from docuchat_knowledge.jobs.domain import WaitingDocument

logger = structlog.get_logger()

UPLOADED_QUEUE = queue_name("ingest", DocumentUploaded.type)

_BROKER_AWAY: tuple[type[BaseException], ...] = (UpstreamUnavailable, *BROKER_ERRORS)


class BrokerDeadLetters:
    """Tickets of documents that were given up; `docuchat-ingest replay` brings them back."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def bury(self, document: WaitingDocument) -> None:
        event = DocumentUploaded(
            tenant_id=document.tenant_id,
            document_id=document.document_id,
            collection_id=document.collection_id,
            user_id=document.uploaded_by,
            sha256=document.sha256,
            size_bytes=document.size_bytes,
            media_type=document.media_type,
        )
        message = aio_pika.Message(
            event.to_cloudevent(),
            content_type="application/cloudevents+json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=str(event.id),
            type=event.type,
        )
        try:
            channel = await self._broker.channel()
            async with channel:
                await channel.default_exchange.publish(message, dead_letter_queue(UPLOADED_QUEUE), timeout=10)
        except _BROKER_AWAY as error:
            logger.warning("document.unburied", error=type(error).__name__)
