"""What who manages a chatbot sees of its use; what strangers wrote is made harmless to whoever renders it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from docuchat_chat.conversations.domain import Message
from docuchat_chat.conversations.errors import ChatNotFound
from docuchat_chat.conversations.service import readable
from docuchat_chat.insights.domain import AskedChat, Insights
from docuchat_chat.insights.ports import InsightsTx
from docuchat_common.clock import Clock
from docuchat_common.contracts.chatbots import ChatbotNotFound
from docuchat_common.db.uow import Transactions
from docuchat_common.defusing import defuse
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatbotId, ChatId

_MOST_QUESTIONS: Final = 50
_MOST_COMMENTS: Final = 50


@dataclass(frozen=True, slots=True)
class AskedConversation:
    """A chat with a chatbot, and one page of its messages."""

    chat: AskedChat
    messages: list[Message]


class InsightService:
    """Reads chats of others: for who manages chatbots alone."""

    def __init__(self, transactions: Transactions[InsightsTx], clock: Clock) -> None:
        self._transactions = transactions
        self._clock = clock

    async def list_chats(
        self, caller: Caller, chatbot_id: ChatbotId, limit: int, before: tuple[datetime, ChatId] | None
    ) -> list[AskedChat]:
        """List the chats of a chatbot, the last used first. Raises ChatbotNotFound."""
        async with self._transactions(caller.tenant_id) as tx:
            await _require_chatbot(tx, caller, chatbot_id)
            return [_titled(chat) for chat in await tx.insights.page(caller.tenant_id, chatbot_id, limit, before)]

    async def get_chat(
        self, caller: Caller, chatbot_id: ChatbotId, chat_id: ChatId, limit: int, after: int
    ) -> AskedConversation:
        """Return one of them with its messages after a message number, branches and all.

        Raises ChatbotNotFound, ChatNotFound.
        """
        async with self._transactions.as_caller(caller) as tx:
            await _require_chatbot(tx, caller, chatbot_id)
            asked = await tx.insights.find(caller.tenant_id, chatbot_id, chat_id)
            chat = await tx.chats.find(asked.owner, chat_id=chat_id) if asked is not None else None
            if asked is None or chat is None:
                raise ChatNotFound
            messages = await tx.chats.messages(asked.owner, chat, chat.tree.all(after), limit)
            shown = await readable(tx, caller, messages, chatbot_id)
            return AskedConversation(_titled(asked), [replace(said, content=defuse(said.content)) for said in shown])

    async def get(self, caller: Caller, chatbot_id: ChatbotId, days: int) -> Insights:
        """Return figures of the last days, today with them. Raises ChatbotNotFound."""
        tenant_id, today = caller.tenant_id, self._clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        since = today - timedelta(days=days - 1)
        async with self._transactions(tenant_id) as tx:
            await _require_chatbot(tx, caller, chatbot_id)
            chats, askers = await tx.insights.count_askers(tenant_id, chatbot_id, since)
            unanswered = await tx.insights.unanswered(tenant_id, chatbot_id, since, _MOST_QUESTIONS)
            comments = await tx.insights.comments(tenant_id, chatbot_id, since, _MOST_COMMENTS)
            return Insights(
                since=since,
                chats=chats,
                askers=askers,
                use=list(await tx.insights.use_by_day(tenant_id, chatbot_id, since)),
                unanswered=[replace(one, question=defuse(one.question)) for one in unanswered],
                opinions=list(await tx.insights.opinions(tenant_id, chatbot_id, since)),
                comments=[replace(one, text=defuse(one.text)) for one in comments],
            )


def _titled(chat: AskedChat) -> AskedChat:
    return replace(chat, title=defuse(chat.title)) if chat.title else chat


async def _require_chatbot(tx: InsightsTx, caller: Caller, chatbot_id: ChatbotId) -> None:
    if await tx.chatbots.find_live(caller.tenant_id, chatbot_id) is None:
        raise ChatbotNotFound
