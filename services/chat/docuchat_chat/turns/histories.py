"""The chat that a question goes on with, and what was said in it."""

from __future__ import annotations

from docuchat_chat.conversations.domain import chat_id_of
from docuchat_chat.conversations.errors import ChatFull, ChatNotFound, ChatOfAnotherChatbot
from docuchat_chat.turns.drafts import Draft
from docuchat_chat.turns.policy import Policy
from docuchat_chat.turns.ports import TurnsTx
from docuchat_common.db.uow import Transactions


class Histories:
    """Finds the chat of a question."""

    def __init__(self, transactions: Transactions[TurnsTx], policy: Policy) -> None:
        self._transactions = transactions
        self._policy = policy

    async def look_up(self, draft: Draft) -> None:
        """Find chat and history of a question that names one. Raises ChatNotFound, ChatOfAnotherChatbot or ChatFull."""
        question = draft.question
        limit = self._policy.max_history_messages
        if question.history is not None:
            draft.history = question.history[-limit:]
        if draft.chat is None and question.chat_id is None and question.session_id is None:
            return
        async with self._transactions.as_caller(draft.caller) as tx:
            if draft.chat is None:
                draft.chat = await tx.chats.find(
                    draft.caller,
                    chat_id=question.chat_id or chat_id_of(question.session_id),
                    session_key=question.session_id if question.chat_id is None else None,
                    chatbot_id=draft.setup.chatbot_id,
                )
            if draft.chat is None:
                if question.chat_id is not None:
                    raise ChatNotFound
                return
            if draft.chat.chatbot_id != draft.setup.chatbot_id:
                raise ChatOfAnotherChatbot
            if draft.chat.is_full:
                raise ChatFull
            if question.history is not None:
                return
            end = draft.place.before(draft.chat.tree)
            draft.history = tuple(await tx.chats.history(draft.caller, draft.chat, end, limit))
