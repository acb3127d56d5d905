"""What is still to be done about chatbots whose request ended midway, or that are gone."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import structlog

from docuchat_chat.chatbots.domain import Untold
from docuchat_chat.chatbots.ports import ChatbotsTx, Credentials
from docuchat_chat.chatbots.service import TELLING
from docuchat_common.db.uow import Transactions
from docuchat_common.errors import DocuChatError, UpstreamUnavailable
from docuchat_common.http.caller import Caller

logger = structlog.get_logger()

_AT_ONCE: Final = 100
_REMEMBERED: Final = timedelta(days=1)
"""Longer than any answer is under way in which a chat of a deleted chatbot could still be made."""


class ChatbotUpkeep:
    """Sweeps, each of which can be repeated."""

    def __init__(
        self, transactions: Transactions[ChatbotsTx], credentials: Credentials, *, patience: timedelta = 2 * TELLING
    ) -> None:
        """`patience`: how long a request has to tell auth by itself, longer than `TELLING`."""
        self._transactions = transactions
        self._credentials = credentials
        self._patience = patience

    async def sweep(self) -> None:
        """Tell auth what is true of the chatbots of which it may know something else."""
        async with self._transactions.system() as tx:
            await tx.chatbots.forget_removed(_REMEMBERED)
            untold = await tx.chatbots.list_untold(self._patience, _AT_ONCE)
        for note in untold:
            try:
                origins = await self._tell(note)
            except DocuChatError as error:
                logger.warning("chatbot.auth_not_told", chatbot_id=str(note.chatbot_id), reason=error.detail)
                if isinstance(error, UpstreamUnavailable):
                    return
                continue  # what is wrong with this one is nothing to those behind it
            async with self._transactions(note.tenant_id) as tx:
                await tx.chatbots.forget_note(note, origins, self._patience)

    async def _tell(self, note: Untold) -> tuple[str, ...] | None:
        """Return the origins that auth was told; None for a chatbot that is gone."""
        async with self._transactions(note.tenant_id) as tx:
            found = await tx.chatbots.find_live(note.tenant_id, note.chatbot_id)
        if found is None:
            await self._credentials.end(note.tenant_id, note.chatbot_id)
            return None
        by = Caller(note.tenant_id, "chatbot", note.chatbot_id)  # who asked is not known any more
        await self._credentials.put(note.tenant_id, note.chatbot_id, found[0].origins, by)
        return found[0].origins
