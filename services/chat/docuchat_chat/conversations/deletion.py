"""What a chat has elsewhere that is deleted, by whomever: it goes in the same transaction."""

from __future__ import annotations

from docuchat_chat.attachments.service import release_attachments
from docuchat_chat.conversations.ports import ConversationsTx
from docuchat_common.ids import ChatId, TenantId


async def leave_nothing(tx: ConversationsTx, tenant_id: TenantId, chat_id: ChatId) -> None:
    """Let the files of a deleted chat go, and the answers that were kept for those who repeat a request about it."""
    await release_attachments(tx, tenant_id, chat_id)
    await tx.requests.forget_about(tenant_id, chat_id)
