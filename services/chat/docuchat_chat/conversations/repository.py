"""Rows of chats and messages in, domain objects out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from docuchat_chat.answers.domain import PastMessage
from docuchat_chat.answers.snapshots import citation_of
from docuchat_chat.conversations.domain import (
    ANYWHERE,
    MOST_MESSAGES,
    MOST_SIBLINGS,
    Chat,
    ChatChange,
    ChatFilter,
    ChatPosition,
    Match,
    Message,
    MessageStatus,
    Place,
    Scope,
)
from docuchat_chat.conversations.errors import ChatFull, ChatNotFound
from docuchat_chat.conversations.ports import OpenedChat
from docuchat_chat.conversations.snippets import snippet_of
from docuchat_chat.conversations.tree import Tree
from docuchat_common.db.queries import load_queries
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatbotId, ChatId, CollectionId, DocumentId, MessageId, TenantId, TurnId
from docuchat_common.metering import Used
from docuchat_knowledge.folding import fold

_queries: Any = load_queries("docuchat_chat.conversations")


class ChatRepository:
    """Chats and messages."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find(
        self,
        caller: Caller,
        *,
        chat_id: ChatId | None = None,
        session_key: str | None = None,
        chatbot_id: ChatbotId | None = None,
    ) -> Chat | None:
        """Return the caller's own chat by id, else by its session key with this chatbot; None is without any."""
        row = await _queries.find_chat(
            self._connection, **_own(caller), chat_id=chat_id, session_key=session_key, chatbot_id=chatbot_id
        )
        if row is None:
            return None
        attachments = tuple(map(DocumentId, row["attachments"]))
        return replace(_chat(row), tree=_tree(row), chatbot_id=_chatbot_id(row), attachments=attachments)

    async def history(self, caller: Caller, chat: Chat, end: int, limit: int) -> list[PastMessage]:
        """Return the last messages that have text on the way to number `end`, in order of time."""
        # twice as many numbers: answers that failed have no text, those that are being written are not there
        seqs = chat.tree.latest(end, 2 * limit)
        rows = [
            row
            async for row in _queries.list_history(
                self._connection, tenant_id=caller.tenant_id, chat_id=chat.id, seqs=seqs, row_limit=limit
            )
        ]
        return [PastMessage(row["role"], row["content"], row["tokens"], row["tokenizer"]) for row in reversed(rows)]

    async def open(
        self,
        caller: Caller,
        chat_id: ChatId,
        session_key: str | None,
        title: str,
        place: Place = ANYWHERE,
        chatbot_id: ChatbotId | None = None,
        *,
        is_kept: bool = True,
    ) -> OpenedChat:
        """Reserve places for a question and its answer in the chat of this id or session key, made if need be."""
        if place.after is not None:
            opened = await self._continue(caller, chat_id, title, place)
            if opened is None:
                raise ChatNotFound
        elif session_key is None:
            opened = await _queries.open_chat(
                self._connection,
                **_own(caller),
                subject_type=caller.subject_type,
                chat_id=chat_id,
                title=title,
                title_key=fold(title),
                chatbot_id=chatbot_id,
                is_kept=is_kept,
            )
            if opened is None:
                raise ChatNotFound
        else:
            opened = await self._continue(caller, chat_id, title)
        if opened is None:
            made = await _queries.create_chat(
                self._connection,
                **_own(caller),
                subject_type=caller.subject_type,
                chat_id=chat_id,
                session_key=session_key,
                title=title,
                title_key=fold(title),
                title_by="question",
                chatbot_id=chatbot_id,
            )
            if made is None:
                other = await self.find(caller, session_key=session_key, chatbot_id=chatbot_id)
                if other is None:
                    raise ChatNotFound
                chat_id = other.id
            opened = await self._continue(caller, chat_id, title)
            if opened is None:
                raise ChatNotFound
        chat = _chat(opened)
        return OpenedChat(chat.id, chat.session_id, opened["last_seq"], opened["wants_title"] and is_kept)

    async def create(self, caller: Caller, chat_id: ChatId, title: str | None) -> Chat:
        """Make an empty chat."""
        row = await _queries.create_chat(
            self._connection,
            **_own(caller),
            subject_type=caller.subject_type,
            chat_id=chat_id,
            session_key=None,
            title=title,
            title_key=fold(title or ""),
            title_by="user" if title is not None else "question",
            chatbot_id=None,
        )
        return _chat(row)

    async def page(self, caller: Caller, limit: int, after: ChatPosition | None, which: ChatFilter) -> list[Chat]:
        """Return chats, pinned ones first, then most recently used first; with a needle what matched as well."""
        after_pinned, after_time, after_id = after if after is not None else (None, None, None)
        page = {
            **_own(caller),
            "row_limit": limit,
            "archived": which.archived,
            "pinned": which.pinned,
            "chatbot_id": which.chatbot_id,
            "after_pinned": after_pinned,
            "after_time": after_time,
            "after_id": after_id,
        }
        if which.needle is None:
            return [_chat(row) async for row in _queries.list_chats(self._connection, **page)]
        found = _queries.search_chats(self._connection, **page, needle=which.needle)
        return [replace(_chat(row), match=_match(row, which.needle)) async for row in found]

    async def change(self, caller: Caller, chat_id: ChatId, change: ChatChange) -> Chat | None:
        """Change a chat; None when there is no such chat."""
        row = await _queries.change_chat(
            self._connection,
            **_own(caller),
            chat_id=chat_id,
            title=change.title,
            title_key=fold(change.title or ""),
            pinned=change.pinned,
            archived=change.archived,
        )
        return _chat(row) if row is not None else None

    async def delete(self, caller: Caller, chat_id: ChatId) -> list[TurnId] | None:
        """Delete a chat with its messages; returns its turns, None when there is no such chat."""
        if await _queries.lock_chat(self._connection, **_own(caller), chat_id=chat_id) is None:
            return None
        row = await _queries.delete_chat(self._connection, **_own(caller), chat_id=chat_id)
        return [TurnId(turn_id) for turn_id in row["turn_ids"]] if row is not None else None

    async def list_unused(self, tenant_id: TenantId, before: datetime, limit: int) -> list[tuple[Caller, ChatId]]:
        """Return chats of a tenant that nobody has written in since a moment, each with whose it is."""
        rows = _queries.list_unused(self._connection, tenant_id=tenant_id, before=before, chat_id=None, row_limit=limit)
        return [(Caller(tenant_id, row["subject_type"], row["subject_id"]), ChatId(row["id"])) async for row in rows]

    async def delete_unused(self, owner: Caller, chat_id: ChatId, before: datetime) -> list[TurnId] | None:
        """Delete a chat, as `delete` does, unless it was written in since a moment."""
        if await _queries.lock_chat(self._connection, **_own(owner), chat_id=chat_id) is None:
            return None
        still = _queries.list_unused(
            self._connection, tenant_id=owner.tenant_id, before=before, chat_id=chat_id, row_limit=1
        )
        return await self.delete(owner, chat_id) if [row async for row in still] else None

    async def add_message(
        self, caller: Caller, chat_id: ChatId, message_id: MessageId, content: str, metadata: dict[str, Any]
    ) -> Message | None:
        """Store a user's message that nobody answers; None when there is no such chat. Raises ChatFull."""
        chat = await self._continue(caller, chat_id, None, places=1)
        if chat is None:
            return None
        if chat["message_count"] > MOST_MESSAGES:
            raise ChatFull
        row = await _queries.add_message(
            self._connection,
            message_id=message_id,
            tenant_id=caller.tenant_id,
            chat_id=chat_id,
            seq=chat["last_seq"],
            role="user",
            content=content,
            content_key=fold(content),
            tokens=None,
            tokenizer=None,
            status=MessageStatus.COMPLETE.value,
            metadata=orjson.dumps(metadata).decode(),
        )
        after = _tree(chat).parent(row["seq"])
        ids = await self.list_ids(caller, chat_id, [after])
        return replace(_message(row), parent_id=ids[after][0] if after in ids else None)

    async def messages(
        self, caller: Caller, chat: Chat, stretches: Sequence[tuple[int, int]], limit: int
    ) -> list[Message]:
        """Return the first messages in some stretches of numbers, each with what it follows and what is beside it."""
        rows = _queries.list_messages(
            self._connection,
            tenant_id=caller.tenant_id,
            chat_id=chat.id,
            firsts=[first for first, _ in stretches],
            lasts=[last for _, last in stretches],
            row_limit=limit,
        )
        messages = [_message(row) async for row in rows]
        parents = {message.seq: chat.tree.parent(message.seq) for message in messages}
        beside = chat.tree.beside(parents, MOST_SIBLINGS)
        here = {message.seq: (message.id, True) for message in messages}
        elsewhere = set(parents.values()).union(*beside.values()) - here.keys() - {0}
        ids = here | (await self.list_ids(caller, chat.id, sorted(elsewhere)) if elsewhere else {})
        return [
            replace(
                message,
                parent_id=ids[parents[message.seq]][0] if parents[message.seq] in ids else None,
                siblings=tuple(ids[seq][0] for seq in beside[message.seq] if seq in ids and ids[seq][1]),
            )
            for message in messages
        ]

    async def list_ids(self, caller: Caller, chat_id: ChatId, seqs: Sequence[int]) -> dict[int, tuple[MessageId, bool]]:
        """Return the ids of messages by their numbers, each with whether it is there or still being written."""
        rows = _queries.list_ids(self._connection, tenant_id=caller.tenant_id, chat_id=chat_id, seqs=list(seqs))
        return {row["seq"]: (MessageId(row["id"]), row["is_there"]) async for row in rows}

    async def choose_head(self, caller: Caller, chat_id: ChatId, head: int) -> None:
        """Show a chat up to the message of this number."""
        await _queries.choose_head(self._connection, **_own(caller), chat_id=chat_id, head_seq=head)

    async def keep_quotes(self, tenant_id: TenantId) -> None:
        """Make deletions that begin from now on wait for this transaction, so that they find its quotes."""
        await _queries.lock_quotes_shared(self._connection, tenant_id=tenant_id)

    async def mark_deleted(self, tenant_id: TenantId, document_id: DocumentId) -> int:
        """Empty the quotes of a deleted document in stored answers; returns in how many."""
        await _queries.lock_quotes(self._connection, tenant_id=tenant_id)
        status: str = await _queries.mark_deleted(
            self._connection,
            tenant_id=tenant_id,
            document_id=str(document_id),
            cites=orjson.dumps([{"document_id": str(document_id)}]).decode(),
        )
        return int(status.rpartition(" ")[2])

    async def find_message(self, caller: Caller, message_id: MessageId) -> Message | None:
        """Return a message of an own chat."""
        row = await _queries.find_message(self._connection, **_own(caller), message_id=message_id)
        return _message(row) if row is not None else None

    async def find_running(self, caller: Caller, message_id: MessageId) -> TurnId | None:
        """Return the turn that is writing this answer of an own chat; None when there is none."""
        turn_id = await _queries.find_running(self._connection, **_own(caller), message_id=message_id)
        return TurnId(turn_id) if turn_id is not None else None

    async def _continue(
        self, caller: Caller, chat_id: ChatId, title: str | None, place: Place = ANYWHERE, *, places: int = 2
    ) -> asyncpg.Record | None:
        row: asyncpg.Record | None = await _queries.continue_chat(
            self._connection,
            **_own(caller),
            chat_id=chat_id,
            title=title,
            title_key=fold(title or ""),
            places=1 if place.question_id is not None else places,
            stored=0 if place.question_id is not None else 1,
            after=place.after,
        )
        return row


def _own(caller: Caller) -> dict[str, Any]:
    return {"tenant_id": caller.tenant_id, "subject_id": caller.subject_id}


def _chat(row: asyncpg.Record) -> Chat:
    return Chat(
        id=ChatId(row["id"]),
        session_key=row["session_key"],
        title=row["title"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        message_count=row["message_count"],
        pinned=row["pinned"],
        archived=row["archived"],
    )


def _match(row: asyncpg.Record, needle: str) -> Match:
    return Match(
        MessageId(row["message_id"]) if row["message_id"] is not None else None,
        snippet_of(row["excerpt"] if row["excerpt"] is not None else row["title"], needle),
    )


def _tree(row: asyncpg.Record) -> Tree:
    return Tree(row["last_seq"], tuple((begun, after) for begun, after in row["branches"]), row["head_seq"])


def _chatbot_id(row: asyncpg.Record) -> ChatbotId | None:
    return ChatbotId(row["chatbot_id"]) if row["chatbot_id"] is not None else None


def _message(row: asyncpg.Record) -> Message:
    usage = orjson.loads(row["usage"]) if row["usage"] is not None else None
    return Message(
        id=MessageId(row["id"]),
        chat_id=ChatId(row["chat_id"]),
        seq=row["seq"],
        role=row["role"],
        content=row["content"],
        citations=tuple(citation_of(fields) for fields in orjson.loads(row["citations"])),
        usage=Used(usage["input_tokens"], usage["output_tokens"], usage["estimated"]) if usage else None,
        model=row["model"],
        status=MessageStatus(row["status"]),
        metadata=orjson.loads(row["metadata"]),
        created_at=row["created_at"],
        scope=_scope(row["scope"]),
    )


def _scope(stored: str | None) -> Scope:
    fields = orjson.loads(stored) if stored is not None else {}
    documents, collection = fields.get("document_ids"), fields.get("collection_id")
    return Scope(
        tuple(DocumentId(UUID(document)) for document in documents) if documents is not None else None,
        CollectionId(UUID(collection)) if collection is not None else None,
        tuple(DocumentId(UUID(document)) for document in fields.get("attachments", ())),
    )
