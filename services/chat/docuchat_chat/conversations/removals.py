"""What a removed user leaves: chats are private, so they go, and what is answered in them ends."""

from __future__ import annotations

from functools import partial
from typing import Final

import structlog

from docuchat_chat.conversations.ports import ConversationsTx, RunningTurns
from docuchat_common.db.uow import Transactions
from docuchat_common.removals import RemovedUser, repeat

logger = structlog.get_logger()

_CHATS_AT_ONCE: Final = 5
"""A chat has up to 10,000 messages."""
_USERS_AT_ONCE: Final = 100
_KEPT: Final = {
    "provider_calls": "what was asked of a provider, by ids and without words, for 30 days",
    "removed_users": "that who is gone stays so, by ids, for 30 days",
}


class Removals:
    """Each step is a transaction that can be repeated, so whoever stops in the midst of it goes on later."""

    def __init__(self, transactions: Transactions[ConversationsTx], running: RunningTurns) -> None:
        self._transactions = transactions
        self._running = running

    async def settle(self, who: RemovedUser) -> None:
        """Remember who is gone, end what is being answered, and delete the chats of the user and of the user's keys."""
        async with self._transactions(who.tenant_id) as tx:
            await tx.legacies.removed.remember(who)
            running = await tx.legacies.list_running(who)
        deleted = await repeat(partial(self._delete, who))
        await self._running.forget(who.tenant_id, running)
        async with self._transactions(who.tenant_id) as tx:
            if (told := await tx.legacies.removed.finish(who, "chat", _KEPT)) is not None:
                tx.outbox.add(told)
        logger.info("user.chats_settled", tenant_id=who.tenant_id, user_id=str(who.user_id), deleted=deleted)

    async def sweep(self) -> None:
        """Settle what was asked after its user was gone, and forget who has been gone for long."""
        async with self._transactions.system() as tx:
            await tx.legacies.removed.forget()
            left = await tx.legacies.list_left(_USERS_AT_ONCE)
        for who in left:
            await self.settle(who)

    async def _delete(self, who: RemovedUser) -> int:
        async with self._transactions(who.tenant_id) as tx:
            chats, messages = await tx.legacies.delete_chats(who, _CHATS_AT_ONCE)
            await tx.legacies.removed.count(who, chats=chats, messages=messages)
            await tx.requests.forget_subjects(who.tenant_id, who.subjects)
        return chats
