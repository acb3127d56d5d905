"""Files that are used in chats: they go with the last chat that uses them."""

from __future__ import annotations

from collections.abc import Sequence

from docuchat_chat.attachments.ports import AttachmentsTx
from docuchat_common.db.uow import Transactions
from docuchat_common.events.chats import ChatDeleted
from docuchat_common.ids import ChatId, DocumentId, TenantId


async def release_attachments(tx: AttachmentsTx, tenant_id: TenantId, chat_id: ChatId) -> None:
    """Let the files of a chat go that is deleted in this transaction, unless another chat uses them."""
    released = await tx.attachments.release(tenant_id, chat_id)
    if released:
        tx.outbox.add(ChatDeleted(tenant_id=tenant_id, chat_id=chat_id, document_ids=tuple(released)))


class AttachmentService:
    """What other services ask about attachments."""

    def __init__(self, transactions: Transactions[AttachmentsTx]) -> None:
        self._transactions = transactions

    async def list_unused(self, tenant_id: TenantId, document_ids: Sequence[DocumentId]) -> list[DocumentId]:
        """Return those of these files that are used in no chat."""
        async with self._transactions(tenant_id) as tx:
            return await tx.attachments.list_unused(tenant_id, document_ids)
