"""A chat from its beginning to its end, a bounded number of messages at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from docuchat_chat.conversations.domain import Chat, Message
from docuchat_chat.conversations.errors import ChatNotFound
from docuchat_chat.conversations.ports import ConversationsTx
from docuchat_chat.conversations.service import list_path
from docuchat_common.db.uow import Transactions
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatId

_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Transcript:
    """A chat, and what is shown of it."""

    chat: Chat
    first: list[Message]
    """Its first messages."""
    pages: AsyncIterator[list[Message]]
    """All of them, to be read once. Raises ChatNotFound when it is deleted meanwhile."""


class TranscriptService:
    """Reads whole chats."""

    def __init__(self, transactions: Transactions[ConversationsTx]) -> None:
        self._transactions = transactions

    async def open(self, caller: Caller, chat_id: ChatId) -> Transcript:
        """Begin to read an own chat, up to the message that is shown last. Raises ChatNotFound."""
        async with self._transactions.as_caller(caller) as tx:
            chat = await tx.chats.find(caller, chat_id=chat_id)
            if chat is None:
                raise ChatNotFound
            first = await list_path(tx, caller, chat, chat.tree.head, after=0, limit=_AT_ONCE)
        return Transcript(chat, first, self._pages(caller, chat, first))

    async def _pages(self, caller: Caller, chat: Chat, page: list[Message]) -> AsyncIterator[list[Message]]:
        while page:
            yield page
            if len(page) < _AT_ONCE:
                return
            async with self._transactions.as_caller(caller) as tx:
                if await tx.chats.find(caller, chat_id=chat.id) is None:
                    raise ChatNotFound
                page = await list_path(tx, caller, chat, chat.tree.head, after=page[-1].seq, limit=_AT_ONCE)
