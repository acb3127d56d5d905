"""The chats of chatbots that are gone: they go as well, also one that was begun while its chatbot went."""

from __future__ import annotations

from typing import Final

import structlog

from docuchat_chat.conversations.deletion import leave_nothing
from docuchat_chat.conversations.ports import ConversationsTx, RunningTurns
from docuchat_common.db.uow import Transactions
from docuchat_common.ids import ChatbotId, TenantId

logger = structlog.get_logger()

_CHATBOTS_AT_ONCE: Final = 20
_CHATS_AT_ONCE: Final = 100


class Orphans:
    """Each chat goes in a transaction of its own, so whoever stops in the midst of it goes on later."""

    def __init__(self, transactions: Transactions[ConversationsTx], running: RunningTurns) -> None:
        self._transactions = transactions
        self._running = running

    async def sweep(self) -> None:
        """Delete the chats of chatbots that are gone, as their callers would."""
        async with self._transactions.system() as tx:
            chatbots = await tx.legacies.list_orphaning(_CHATBOTS_AT_ONCE)
        for tenant_id, chatbot_id in chatbots:
            deleted = await self._delete_chats(tenant_id, chatbot_id)
            logger.info("chatbot.chats_deleted", tenant_id=tenant_id, chatbot_id=str(chatbot_id), deleted=deleted)

    async def _delete_chats(self, tenant_id: TenantId, chatbot_id: ChatbotId) -> int:
        deleted = 0
        while True:
            async with self._transactions(tenant_id) as tx:
                orphans = await tx.legacies.list_orphans(tenant_id, chatbot_id, _CHATS_AT_ONCE)
            for owner, chat_id in orphans:
                async with self._transactions(tenant_id) as tx:
                    turns = await tx.chats.delete(owner, chat_id)
                    if turns is None:
                        continue
                    await leave_nothing(tx, tenant_id, chat_id)
                await self._running.forget(tenant_id, turns)
                deleted += 1
            if len(orphans) < _CHATS_AT_ONCE:
                return deleted
