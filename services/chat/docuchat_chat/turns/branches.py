"""Branches: a question beside another, an answer beside another, a question after any message of a chat."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import assert_never

from docuchat_chat.answers.errors import ModelNotAllowed
from docuchat_chat.answers.ports import AnswerModels
from docuchat_chat.conversations.domain import Chat, Message, Place
from docuchat_chat.conversations.errors import ChatNotFound, NotAQuestion
from docuchat_chat.conversations.service import get_message
from docuchat_chat.feedback.errors import MessageNotFound, NotAnAnswer
from docuchat_chat.turns.domain import Branch, BranchKind, Question
from docuchat_chat.turns.drafts import Draft
from docuchat_chat.turns.policy import Policy
from docuchat_chat.turns.ports import TurnsTx
from docuchat_common.db.uow import Transactions


class Branches:
    """Finds where a branch begins, and what is asked there. What a message follows never changes."""

    def __init__(self, transactions: Transactions[TurnsTx], models: AnswerModels, policy: Policy) -> None:
        self._transactions = transactions
        self._models = models
        self._policy = policy

    async def look_up(self, draft: Draft, branch: Branch) -> None:
        """Give a draft its chat, its place in it and, for another answer, the question and the model of the first.

        Raises MessageNotFound, AnswerInProgress, ChatNotFound, NotAnAnswer or NotAQuestion.
        """
        caller, question = draft.caller, draft.question
        answered_by: str | None = None
        async with self._transactions.as_caller(caller) as tx:
            message = await get_message(tx, caller, branch.message_id)
            chat = await tx.chats.find(caller, chat_id=message.chat_id)
            if chat is None:
                raise ChatNotFound
            before = chat.tree.parent(message.seq)
            match branch.kind:
                case BranchKind.FOLLOW:
                    if not _is_named(chat, question):
                        raise MessageNotFound
                    draft.place = Place(message.seq)
                case BranchKind.EDIT:
                    if message.role != "user":
                        raise NotAQuestion
                    draft.question = _asked_of(question, message)
                    draft.place = Place(before)
                case BranchKind.REGENERATE:
                    if message.role != "assistant":
                        raise NotAnAnswer
                    (asked,) = await tx.chats.messages(caller, chat, [(before, before)], 1)
                    draft.question = _asked_of(replace(question, text=asked.content), asked)
                    draft.place = Place(before, asked.id)
                    if not question.model:
                        answered_by = message.metadata.get("fallback", {}).get("from") or message.model
                case never:
                    assert_never(never)
        draft.chat = chat
        if answered_by is not None:
            with suppress(ModelNotAllowed):  # any more: then the default one answers
                await self._models.find(caller.tenant_id, answered_by)
                draft.setup = self._policy.setup(answered_by)


def _is_named(chat: Chat, question: Question) -> bool:
    if question.chat_id is not None:
        return question.chat_id == chat.id
    return question.session_id is None or question.session_id in (chat.session_id, str(chat.id))


def _asked_of(question: Question, message: Message) -> Question:
    scope = message.scope
    return replace(
        question,
        document_ids=scope.document_ids,
        collection_id=scope.collection_id,
        attachments=scope.attachments,
    )
