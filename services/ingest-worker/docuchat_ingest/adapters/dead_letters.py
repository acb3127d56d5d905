"""The dead-letter queue of the tickets."""

import structlog

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import DocumentUploaded
from docuchat_common.messaging.dead_letters import DeadLetterOffice
from docuchat_knowledge.jobs.domain import WaitingDocument

logger = structlog.get_logger()

_GIVEN_UP = "document_failed"


class BrokerDeadLetters:
    """Tickets of documents that were given up; `docuchat admin dead-letters replay` brings them back."""

    def __init__(self, office: DeadLetterOffice) -> None:
        self._office = office

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
        try:
            await self._office.add(event, publisher="gateway", reason=_GIVEN_UP)
        except UpstreamUnavailable as error:
            logger.warning("document.unburied", reason=error.detail)
