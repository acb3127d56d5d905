"""Written by scripts/write_blocking.py from chats.py: `make openapi` writes it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.blocking.runtime import Blocking
from docuchat_client.chat_models import (
    Audience,
    ChatSession,
    ExportFormat,
    FeedbackReason,
    IssuedShare,
    OpenedChatSession,
    Share,
    SharedChat,
)
from docuchat_client.models import Chat, ChatWithMessages, Feedback, Message, Page, Rating


class BlockingChats(Blocking):
    """The part of a client that keeps chats."""

    _client: AsyncDocuChat

    def create_chat(self, title: str | None = None) -> Chat:
        """A new, empty chat."""
        return self._loop.run(self._client.create_chat(title))

    def chats(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        q: str | None = None,
        archived: bool = False,
        pinned: bool | None = None,
        chatbot_id: UUID | str | None = None,
    ) -> Page[Chat]:
        """One page of the chats, pinned ones first, then the newest; those with `q` say where it is in them."""
        return self._loop.run(
            self._client.chats(limit=limit, cursor=cursor, q=q, archived=archived, pinned=pinned, chatbot_id=chatbot_id)
        )

    def chat(
        self, chat_id: UUID | str, *, limit: int | None = None, cursor: str | None = None, branches: bool = False
    ) -> ChatWithMessages:
        """A chat and a page of its messages; with `branches` also of those that are not shown."""
        return self._loop.run(self._client.chat(chat_id, limit=limit, cursor=cursor, branches=branches))

    def rename_chat(self, chat_id: UUID | str, title: str) -> Chat:
        """Give the chat another title."""
        return self._loop.run(self._client.rename_chat(chat_id, title))

    def pin_chat(self, chat_id: UUID | str, *, pinned: bool = True) -> Chat:
        """Keep the chat at the top of the list, or no more."""
        return self._loop.run(self._client.pin_chat(chat_id, pinned=pinned))

    def archive_chat(self, chat_id: UUID | str, *, archived: bool = True) -> Chat:
        """Take the chat out of the list, or put it back."""
        return self._loop.run(self._client.archive_chat(chat_id, archived=archived))

    def show_branch(self, chat_id: UUID | str, message_id: UUID | str) -> Chat:
        """Show the branch of the chat that this message is in, and go on there."""
        return self._loop.run(self._client.show_branch(chat_id, message_id))

    def delete_chat(self, chat_id: UUID | str) -> None:
        """Delete the chat and its messages."""
        self._loop.run(self._client.delete_chat(chat_id))

    def export_chat(
        self, chat_id: UUID | str, target: Path | BinaryIO, export_format: ExportFormat = "markdown"
    ) -> int:
        """Write the chat to `target`, in Markdown with citations as footnotes, or as JSON; returns its size."""
        return self._loop.run(self._client.export_chat(chat_id, target, export_format))

    def messages(
        self, chat_id: UUID | str, *, limit: int | None = None, cursor: str | None = None, branches: bool = False
    ) -> Page[Message]:
        """One page of a chat's messages; with `branches` also of those that are not shown."""
        return self._loop.run(self._client.messages(chat_id, limit=limit, cursor=cursor, branches=branches))

    def add_message(self, chat_id: UUID | str, content: str, metadata: dict[str, Any] | None = None) -> Message:
        """Store a message of the user without asking the model."""
        return self._loop.run(self._client.add_message(chat_id, content, metadata))

    def rate(
        self, message_id: UUID | str, rating: Rating, *, reason: FeedbackReason | None = None, text: str | None = None
    ) -> Feedback:
        """Say what you think of an answer, in place of what you said before."""
        return self._loop.run(self._client.rate(message_id, rating, reason=reason, text=text))

    def withdraw_rating(self, message_id: UUID | str) -> None:
        """Take back what you said of an answer."""
        self._loop.run(self._client.withdraw_rating(message_id))

    def share_chat(
        self,
        chat_id: UUID | str,
        audience: Audience = "tenant",
        *,
        expires_in_seconds: int | None = None,
        idempotency_key: str | None = None,
    ) -> IssuedShare:
        """A link to the chat as it is now, for people of the tenant or whoever has it; for a week unless said."""
        return self._loop.run(
            self._client.share_chat(
                chat_id, audience, expires_in_seconds=expires_in_seconds, idempotency_key=idempotency_key
            )
        )

    def shares(self, chat_id: UUID | str) -> Iterator[Share]:
        """Every link to the chat that works."""
        return self._loop.iterate(self._client.shares(chat_id))

    def revoke_share(self, chat_id: UUID | str, share_id: UUID | str) -> None:
        """End a link."""
        self._loop.run(self._client.revoke_share(chat_id, share_id))

    def shared_chat(
        self, token: str, *, limit: int | None = None, cursor: str | None = None, signed: bool = True
    ) -> SharedChat:
        """The chat that a link opens; who only has the link asks without being `signed` in."""
        return self._loop.run(self._client.shared_chat(token, limit=limit, cursor=cursor, signed=signed))

    def chat_sessions(self, chat_id: UUID | str) -> list[ChatSession]:
        """Where the chat is open just now."""
        return self._loop.run(self._client.chat_sessions(chat_id))

    def open_chat_session(self, chat_id: UUID | str) -> OpenedChatSession:
        """Say that the chat is open here; it ends after two minutes without `keep_chat_session`."""
        return self._loop.run(self._client.open_chat_session(chat_id))

    def keep_chat_session(self, session: OpenedChatSession) -> ChatSession:
        """Say that the chat is still open here."""
        return self._loop.run(self._client.keep_chat_session(session))

    def end_chat_session(self, session: ChatSession) -> None:
        """Say that the chat is open here no more."""
        self._loop.run(self._client.end_chat_session(session))
