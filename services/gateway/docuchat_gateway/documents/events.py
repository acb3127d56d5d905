"""What the gateway publishes about documents."""

from uuid import UUID

from docuchat_common.events.catalogue import DocumentUploaded
from docuchat_knowledge.documents.domain import Document


def uploaded_event(document: Document, hold_id: UUID | None = None) -> DocumentUploaded:
    """The ticket by which a worker takes `document`."""
    return DocumentUploaded(
        tenant_id=document.tenant_id,
        document_id=document.id,
        collection_id=document.collection_id,
        user_id=document.uploaded_by,
        sha256=document.sha256,
        size_bytes=document.size_bytes,
        media_type=document.media_type,
        hold_id=hold_id,
    )
