"""Chats and their messages: create, list, search, read, rename, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from docuchat_chat.answers.citations import documents_of, without_words
from docuchat_chat.answers.errors import MessageEmpty
from docuchat_chat.chatbots.versions import live_collections
from docuchat_chat.conversations.deletion import leave_nothing
from docuchat_chat.conversations.domain import (
    AttachedFile,
    Chat,
    ChatChange,
    ChatFilter,
    ChatPosition,
    Message,
    chat_id_of,
)
from docuchat_chat.conversations.errors import AnswerInProgress, ChatNotFound, MessageTooLong, TooManyMessages
from docuchat_chat.conversations.ports import ConversationsTx, RunningTurns
from docuchat_chat.feedback.errors import MessageNotFound
from docuchat_common.audit import entry
from docuchat_common.db.uow import Transactions
from docuchat_common.http.caller import Caller
from docuchat_common.idempotency import Settle, without_key
from docuchat_common.ids import ChatbotId, ChatId, DocumentId, MessageId, TenantId, uuid7
from docuchat_common.rate_limits import Limit, Rate, RateLimiter
from docuchat_common.text import one_line
from docuchat_knowledge.folding import fold

_BATCH: Final = 100
_NOT_ARCHIVED: Final = ChatFilter()
MOST_STORED: Final = Rate(2_000, timedelta(days=1))
"""Of one caller. What is asked is held to a budget; a message that is only stored takes up room and costs nothing."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A chat with one page of its messages."""

    chat: Chat
    messages: list[Message]
    head_id: MessageId | None
    """The end of what is shown, which may be an answer that is still being written; None of an empty chat."""


async def readable(
    tx: ConversationsTx, caller: Caller, messages: Sequence[Message], chatbot_id: ChatbotId | None
) -> list[Message]:
    """Return messages whose citations have no words of documents that their reader may not see any more, nor names.

    Whoever may ask a chatbot may see what it answers from now, besides what is the reader's own to see.
    """
    cited = documents_of([citation for message in messages for citation in message.citations])
    hidden = await tx.search.hidden(caller.tenant_id, cited) if cited else []
    if hidden and chatbot_id is not None:
        shared = await live_collections(tx.chatbots, caller.tenant_id, chatbot_id)
        hidden = await tx.search.hidden(caller.tenant_id, hidden, shared)
    attached = list({document_id for message in messages for document_id in message.scope.attachments})
    names = await tx.search.names(caller.tenant_id, attached) if attached else {}
    return [
        replace(
            message,
            citations=without_words(message.citations, hidden),
            attachments=tuple(AttachedFile(each, *names.get(each, ())) for each in message.scope.attachments),
        )
        for message in messages
    ]


async def get_message(tx: ConversationsTx, caller: Caller, message_id: MessageId) -> Message:
    """Return a message of an own chat. Raises MessageNotFound, AnswerInProgress."""
    message = await tx.chats.find_message(caller, message_id)
    if message is None:
        turn_id = await tx.chats.find_running(caller, message_id)
        if turn_id is not None:
            raise AnswerInProgress(turn_id=str(turn_id))
        message = await tx.chats.find_message(caller, message_id)  # it may have been stored between the two looks
    if message is None:
        raise MessageNotFound
    return message


async def list_path(
    tx: ConversationsTx, caller: Caller, chat: Chat, end: int, *, after: int, limit: int
) -> list[Message]:
    """Return the messages behind number `after` on the way to number `end`, as their reader may see them."""
    found = await tx.chats.messages(caller, chat, chat.tree.path(end, after), limit)
    return await readable(tx, caller, found, chat.chatbot_id)


async def _with_feedback(tx: ConversationsTx, caller: Caller, messages: Sequence[Message]) -> list[Message]:
    given = await tx.feedback.list_own(caller, [message.id for message in messages if message.role == "assistant"])
    return [replace(message, feedback=given.get(message.id)) for message in messages]


class ConversationService:
    """What a user does with chats beside asking."""

    def __init__(
        self,
        transactions: Transactions[ConversationsTx],
        running: RunningTurns,
        limiter: RateLimiter,
        *,
        max_message_chars: int,
    ) -> None:
        self._transactions = transactions
        self._running = running
        self._limiter = limiter
        self._max_message_chars = max_message_chars

    async def create(self, caller: Caller, title: str | None, settle: Settle[Chat] = without_key) -> Chat:
        """Make an empty chat."""
        async with self._transactions.as_caller(caller) as tx:
            chat = await tx.chats.create(caller, ChatId(uuid7()), one_line(title) if title else None)
            tx.outbox.add(entry(caller, "chat.create", chat.id))
            await settle(tx, chat)
        return chat

    async def list_chats(
        self,
        caller: Caller,
        limit: int,
        after: ChatPosition | None,
        query: str | None = None,
        *,
        which: ChatFilter = _NOT_ARCHIVED,
    ) -> list[Chat]:
        """List chats, pinned ones first; `query` is searched in titles and messages, spelling folded."""
        needle = fold(query).strip() if query else None
        async with self._transactions.as_caller(caller) as tx:
            return await tx.chats.page(caller, limit, after, replace(which, needle=needle or None))

    async def get(
        self, caller: Caller, chat_id: ChatId, limit: int, after: int, *, all_branches: bool = False
    ) -> Conversation:
        """Return a chat with its messages after a message number: those that are shown, or those of all branches."""
        async with self._transactions.as_caller(caller) as tx:
            chat = await tx.chats.find(caller, chat_id=chat_id)
            if chat is None:
                raise ChatNotFound
            tree = chat.tree
            stretches = tree.all(after) if all_branches else tree.path(tree.head, after)
            messages = await _with_feedback(tx, caller, await tx.chats.messages(caller, chat, stretches, limit))
            ids = await tx.chats.list_ids(caller, chat_id, [tree.head])
            head_id, _ = ids.get(tree.head, (None, False))
            return Conversation(chat, await readable(tx, caller, messages, chat.chatbot_id), head_id)

    async def find_session(self, caller: Caller, session_id: str) -> ChatId:
        """Return the chat that a chatbot's visitor or program calls by this name. Raises ChatNotFound."""
        name = session_id.replace("\x00", "")
        chatbot_id = None if caller.chatbot_id is None else ChatbotId(caller.chatbot_id)
        async with self._transactions.as_caller(caller) as tx:
            chat = await tx.chats.find(caller, chat_id=chat_id_of(name), session_key=name, chatbot_id=chatbot_id)
        if chat is None:
            raise ChatNotFound
        return chat.id

    async def rename(self, caller: Caller, chat_id: ChatId, title: str) -> Chat:
        """Give a chat another title."""
        return await self._change(caller, chat_id, ChatChange(title=title), "chat.rename")

    async def change(self, caller: Caller, chat_id: ChatId, change: ChatChange) -> Chat:
        """Give a chat another title, pin or archive it, or take that back; or show another of its branches.

        Raises ChatNotFound, MessageNotFound, AnswerInProgress.
        """
        return await self._change(caller, chat_id, change, "chat.change", change.names)

    async def _change(
        self, caller: Caller, chat_id: ChatId, change: ChatChange, act: str, detail: str | None = None
    ) -> Chat:
        if change.title is not None:
            change = replace(change, title=one_line(change.title))
        async with self._transactions.as_caller(caller) as tx:
            if change.head_id is not None:
                await self._show_branch(tx, caller, chat_id, change.head_id)
            chat = await tx.chats.change(caller, chat_id, change)
            if chat is None:
                raise ChatNotFound
            tx.outbox.add(entry(caller, act, chat_id, detail=detail))
        self._running.tell_change(caller, chat_id)
        return chat

    async def _show_branch(self, tx: ConversationsTx, caller: Caller, chat_id: ChatId, message_id: MessageId) -> None:
        chat = await tx.chats.find(caller, chat_id=chat_id)
        if chat is None:
            raise ChatNotFound
        message = await get_message(tx, caller, message_id)
        if message.chat_id != chat_id:
            raise MessageNotFound
        await tx.chats.choose_head(caller, chat_id, chat.tree.newest_end(message.seq))

    async def delete(self, caller: Caller, chat_id: ChatId) -> None:
        """Delete a chat, its messages and what is still streamed of it."""
        async with self._transactions.as_caller(caller) as tx:
            turns = await tx.chats.delete(caller, chat_id)
            if turns is None:
                raise ChatNotFound
            await leave_nothing(tx, caller.tenant_id, chat_id)
            tx.outbox.add(entry(caller, "chat.delete", chat_id))
        await self._running.forget(caller.tenant_id, turns)

    async def delete_unused(self, tenant_id: TenantId, before: datetime) -> int:
        """Delete the chats of a tenant in which nobody has written since a moment; returns how many."""
        deleted = 0
        while True:
            async with self._transactions(tenant_id) as tx:
                unused = await tx.chats.list_unused(tenant_id, before, _BATCH)
            for owner, chat_id in unused:
                async with self._transactions(tenant_id) as tx:
                    turns = await tx.chats.delete_unused(owner, chat_id, before)
                    if turns is None:
                        continue
                    await leave_nothing(tx, tenant_id, chat_id)
                    tx.outbox.add(entry(None, "chat.delete", chat_id, tenant_id=tenant_id, by="retention"))
                await self._running.forget(tenant_id, turns)
                deleted += 1
            if len(unused) < _BATCH:
                return deleted

    async def forget_document(self, tenant_id: TenantId, document_id: DocumentId) -> int:
        """Leave no words of a deleted document in stored citations; returns in how many answers. Safe to repeat."""
        async with self._transactions(tenant_id) as tx:
            return await tx.chats.mark_deleted(tenant_id, document_id)

    async def add_message(
        self,
        caller: Caller,
        chat_id: ChatId,
        content: str,
        metadata: dict[str, Any],
        settle: Settle[Message] = without_key,
    ) -> Message:
        """Store a user's message without asking.

        Raises MessageTooLong, MessageEmpty, ChatNotFound, ChatFull, TooManyMessages.
        """
        if len(content) > self._max_message_chars:
            raise MessageTooLong(limit=self._max_message_chars)
        text = content.replace("\x00", "").strip()
        if not text:
            raise MessageEmpty
        limit = Limit("messages", caller.subject, MOST_STORED)
        await self._limiter.require(limit, error=TooManyMessages, limit=MOST_STORED.amount)
        async with self._transactions.as_caller(caller) as tx:
            message = await tx.chats.add_message(caller, chat_id, MessageId(uuid7()), text, metadata)
            if message is None:
                raise ChatNotFound
            tx.outbox.add(entry(caller, "message.add", message.id))
            await settle(tx, message)
        return message
