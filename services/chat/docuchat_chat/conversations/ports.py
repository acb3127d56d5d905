"""What chats need from the world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from docuchat_chat.answers.domain import PastMessage
from docuchat_chat.answers.ports import PassageSearch
from docuchat_chat.attachments.ports import AttachmentStore
from docuchat_chat.chatbots.ports import LiveVersions
from docuchat_chat.conversations.domain import ANYWHERE, Chat, ChatChange, ChatFilter, ChatPosition, Message, Place
from docuchat_chat.feedback.ports import FeedbackStore
from docuchat_common.http.caller import Caller
from docuchat_common.idempotency import IdempotentRequests
from docuchat_common.ids import ChatbotId, ChatId, DocumentId, MessageId, TenantId, TurnId
from docuchat_common.messaging.outbox import Outbox
from docuchat_common.removals import RemovedUser, RemovedUsers


@dataclass(frozen=True, slots=True)
class OpenedChat:
    """A chat in which the number of an answer is reserved, and the one before it for its question if that is new."""

    id: ChatId
    session_id: str
    answer_seq: int
    wants_title: bool = False
    """Whether its title is the beginning of a question, and no model was asked for a better one."""


class ChatStore(Protocol):
    """Chats and messages of one tenant."""

    async def find(
        self,
        caller: Caller,
        *,
        chat_id: ChatId | None = None,
        session_key: str | None = None,
        chatbot_id: ChatbotId | None = None,
    ) -> Chat | None:
        """Return the caller's own chat by id, else by its session key with this chatbot; None is without any."""
        ...

    async def history(self, caller: Caller, chat: Chat, end: int, limit: int) -> list[PastMessage]:
        """Return the last messages that have text on the way to number `end`, in order of time."""
        ...

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
        """Reserve places for a question and its answer in the chat of this id or session key, made if need be.

        One that is there must be of this chatbot, or of none; one that is made without a session key may be one that is
        not kept. Raises ChatNotFound.
        """
        ...

    async def create(self, caller: Caller, chat_id: ChatId, title: str | None) -> Chat:
        """Make an empty chat."""
        ...

    async def page(self, caller: Caller, limit: int, after: ChatPosition | None, which: ChatFilter) -> list[Chat]:
        """Return chats, pinned ones first, then most recently used first; with a needle what matched as well."""
        ...

    async def change(self, caller: Caller, chat_id: ChatId, change: ChatChange) -> Chat | None:
        """Change a chat; None when there is no such chat."""
        ...

    async def delete(self, caller: Caller, chat_id: ChatId) -> list[TurnId] | None:
        """Delete a chat with its messages; returns its turns, None when there is no such chat."""
        ...

    async def list_unused(self, tenant_id: TenantId, before: datetime, limit: int) -> list[tuple[Caller, ChatId]]:
        """Return chats of a tenant that nobody has written in since a moment, each with whose it is."""
        ...

    async def delete_unused(self, owner: Caller, chat_id: ChatId, before: datetime) -> list[TurnId] | None:
        """Delete a chat, as `delete` does, unless it was written in since a moment."""
        ...

    async def add_message(
        self, caller: Caller, chat_id: ChatId, message_id: MessageId, content: str, metadata: dict[str, Any]
    ) -> Message | None:
        """Store a user's message that nobody answers; None when there is no such chat. Raises ChatFull."""
        ...

    async def messages(
        self, caller: Caller, chat: Chat, stretches: Sequence[tuple[int, int]], limit: int
    ) -> list[Message]:
        """Return the first messages in some stretches of numbers, each with what it follows and what is beside it.

        `chat.tree.path(end)` are the stretches of the way to a message, `chat.tree.all()` those of all branches.
        """
        ...

    async def list_ids(self, caller: Caller, chat_id: ChatId, seqs: Sequence[int]) -> dict[int, tuple[MessageId, bool]]:
        """Return the ids of messages by their numbers, each with whether it is there or still being written."""
        ...

    async def choose_head(self, caller: Caller, chat_id: ChatId, head: int) -> None:
        """Show a chat up to the message of this number."""
        ...

    async def keep_quotes(self, tenant_id: TenantId) -> None:
        """Make deletions that begin from now on wait for this transaction, so that they find its quotes."""
        ...

    async def mark_deleted(self, tenant_id: TenantId, document_id: DocumentId) -> int:
        """Empty the quotes of a deleted document in stored answers; returns in how many."""
        ...

    async def find_message(self, caller: Caller, message_id: MessageId) -> Message | None:
        """Return a message of an own chat."""
        ...

    async def find_running(self, caller: Caller, message_id: MessageId) -> TurnId | None:
        """Return the turn that is writing this answer of an own chat; None when there is none."""
        ...


class LegacyStore(Protocol):
    """The chats of users and chatbots that are gone."""

    @property
    def removed(self) -> RemovedUsers:
        """Who is gone."""
        ...

    async def list_left(self, limit: int) -> Sequence[RemovedUser]:
        """Removed users, of all tenants, who have chats (system role)."""
        ...

    async def list_running(self, who: RemovedUser) -> Sequence[TurnId]:
        """What is being answered to the user or a key of the user's."""
        ...

    async def delete_chats(self, who: RemovedUser, limit: int) -> tuple[int, int]:
        """Delete some of the user's chats; returns how many chats and messages."""
        ...

    async def list_orphaning(self, limit: int) -> Sequence[tuple[TenantId, ChatbotId]]:
        """Chatbots, of all tenants, that are gone and have chats (system role)."""
        ...

    async def list_orphans(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, limit: int
    ) -> Sequence[tuple[Caller, ChatId]]:
        """Some chats of one of them, each with whose it is."""
        ...


class RunningTurns(Protocol):
    """The turns of chats, and who follows them."""

    def tell_change(self, caller: Caller, chat_id: ChatId) -> None:
        """Tell the caller's other pages that a chat is called or kept otherwise."""
        ...

    async def forget(self, tenant_id: TenantId, turn_ids: Sequence[TurnId]) -> None:
        """Stop these turns wherever they run, and remove what is streamed of them."""
        ...


class ConversationsTx(Protocol):
    """What of a transaction chats use."""

    @property
    def chats(self) -> ChatStore:
        """Chats and messages."""
        ...

    @property
    def feedback(self) -> FeedbackStore:
        """What readers think of answers."""
        ...

    @property
    def attachments(self) -> AttachmentStore:
        """Files of chats."""
        ...

    @property
    def legacies(self) -> LegacyStore:
        """Chats of removed users."""
        ...

    @property
    def outbox(self) -> Outbox:
        """Events."""
        ...

    @property
    def requests(self) -> IdempotentRequests:
        """Idempotency keys; that of a question stands for the turn that it began."""
        ...

    @property
    def search(self) -> PassageSearch:
        """The documents that the caller may see."""
        ...

    @property
    def chatbots(self) -> LiveVersions:
        """What chatbots answer from."""
        ...
