"""The worker's own deletions of documents: where they are kept for so long only, and of who is gone."""

from typing import Literal

from docuchat_common.audit import entry
from docuchat_common.events.catalogue import DocumentDeleted
from docuchat_common.ids import DocumentId, TenantId
from docuchat_ingest.transaction import Transaction
from docuchat_knowledge.documents.domain import DeletionReceipt


async def delete_document(
    tx: Transaction, tenant_id: TenantId, document_id: DocumentId, *, by: Literal["retention", "removal"]
) -> DeletionReceipt:
    """Delete a document, in the audit log as well; its files and quotes follow by the event. DocumentNotFound."""
    receipt = await tx.documents.delete(tenant_id, document_id)
    tx.outbox.add(DocumentDeleted(tenant_id=tenant_id, document_id=document_id, user_id=None))
    tx.outbox.add(entry(None, "document.delete", document_id, tenant_id=tenant_id, by=by))
    return receipt
