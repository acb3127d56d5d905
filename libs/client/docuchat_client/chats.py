"""Chats: what was said in them, who they are shared with, and where they are open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from docuchat_client.bodies import given
from docuchat_client.calls import Calls
from docuchat_client.chat_models import (
    Audience,
    ChatSession,
    ChatSessions,
    ExportFormat,
    FeedbackReason,
    IssuedShare,
    OpenedChatSession,
    Share,
    SharedChat,
)
from docuchat_client.models import Chat, ChatWithMessages, Feedback, Message, Page, Rating


class Chats(Calls):
    """The part of a client that keeps chats."""

    async def create_chat(self, title: str | None = None) -> Chat:
        """A new, empty chat."""
        return await self._get(Chat, "POST", "/v1/chats", json={"title": title} if title else {})

    async def chats(
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
        params = given(limit=limit, cursor=cursor, q=q, chatbot_id=chatbot_id)
        params |= {name: str(value).lower() for name, value in given(archived=archived or None, pinned=pinned).items()}
        return await self._get(Page[Chat], "GET", "/v1/chats", params=params)

    async def chat(
        self, chat_id: UUID | str, *, limit: int | None = None, cursor: str | None = None, branches: bool = False
    ) -> ChatWithMessages:
        """A chat and a page of its messages; with `branches` also of those that are not shown."""
        params = {"limit": limit, "cursor": cursor, "branches": "all" if branches else None}
        return await self._get(ChatWithMessages, "GET", f"/v1/chats/{chat_id}", params=params)

    async def rename_chat(self, chat_id: UUID | str, title: str) -> Chat:
        """Give the chat another title."""
        return await self._change(chat_id, title=title)

    async def pin_chat(self, chat_id: UUID | str, *, pinned: bool = True) -> Chat:
        """Keep the chat at the top of the list, or no more."""
        return await self._change(chat_id, pinned=pinned)

    async def archive_chat(self, chat_id: UUID | str, *, archived: bool = True) -> Chat:
        """Take the chat out of the list, or put it back."""
        return await self._change(chat_id, archived=archived)

    async def show_branch(self, chat_id: UUID | str, message_id: UUID | str) -> Chat:
        """Show the branch of the chat that this message is in, and go on there."""
        return await self._change(chat_id, head_id=message_id)

    async def delete_chat(self, chat_id: UUID | str) -> None:
        """Delete the chat and its messages."""
        await self._transport.request("DELETE", f"/v1/chats/{chat_id}")

    async def export_chat(
        self, chat_id: UUID | str, target: Path | BinaryIO, export_format: ExportFormat = "markdown"
    ) -> int:
        """Write the chat to `target`, in Markdown with citations as footnotes, or as JSON; returns its size."""
        return await self._download(f"/v1/chats/{chat_id}/export?format={export_format}", target)

    async def messages(
        self, chat_id: UUID | str, *, limit: int | None = None, cursor: str | None = None, branches: bool = False
    ) -> Page[Message]:
        """One page of a chat's messages; with `branches` also of those that are not shown."""
        params = {"chat_id": str(chat_id), "limit": limit, "cursor": cursor, "branches": "all" if branches else None}
        return await self._get(Page[Message], "GET", "/v1/messages", params=params)

    async def add_message(self, chat_id: UUID | str, content: str, metadata: dict[str, Any] | None = None) -> Message:
        """Store a message of the user without asking the model."""
        body: dict[str, Any] = {"chat_id": str(chat_id), "content": content}
        if metadata is not None:
            body["metadata"] = metadata
        return await self._get(Message, "POST", "/v1/messages", json=body)

    # What readers think

    async def rate(
        self, message_id: UUID | str, rating: Rating, *, reason: FeedbackReason | None = None, text: str | None = None
    ) -> Feedback:
        """Say what you think of an answer, in place of what you said before."""
        body = given(rating=rating, reason=reason, text=text)
        return await self._get(Feedback, "POST", f"/v1/messages/{message_id}/feedback", json=body, repeatable=True)

    async def withdraw_rating(self, message_id: UUID | str) -> None:
        """Take back what you said of an answer."""
        await self._transport.request("DELETE", f"/v1/messages/{message_id}/feedback")

    # Sharing

    async def share_chat(
        self,
        chat_id: UUID | str,
        audience: Audience = "tenant",
        *,
        expires_in_seconds: int | None = None,
        idempotency_key: str | None = None,
    ) -> IssuedShare:
        """A link to the chat as it is now, for people of the tenant or whoever has it; for a week unless said."""
        body = given(audience=audience, expires_in_seconds=expires_in_seconds)
        return await self._create(IssuedShare, f"/v1/chats/{chat_id}/share", body, idempotency_key)

    def shares(self, chat_id: UUID | str) -> AsyncIterator[Share]:
        """Every link to the chat that works."""
        return self._every(Page[Share], f"/v1/chats/{chat_id}/shares")

    async def revoke_share(self, chat_id: UUID | str, share_id: UUID | str) -> None:
        """End a link."""
        await self._transport.request("DELETE", f"/v1/chats/{chat_id}/shares/{share_id}")

    async def shared_chat(
        self, token: str, *, limit: int | None = None, cursor: str | None = None, signed: bool = True
    ) -> SharedChat:
        """The chat that a link opens; who only has the link asks without being `signed` in."""
        params = {"limit": limit, "cursor": cursor}
        return await self._get(SharedChat, "GET", f"/v1/shared/{token}", params=params, signed=signed)

    # Where a chat is open

    async def chat_sessions(self, chat_id: UUID | str) -> list[ChatSession]:
        """Where the chat is open just now."""
        return (await self._get(ChatSessions, "GET", f"/v1/chats/{chat_id}/sessions")).items

    async def open_chat_session(self, chat_id: UUID | str) -> OpenedChatSession:
        """Say that the chat is open here; it ends after two minutes without `keep_chat_session`."""
        return await self._create(OpenedChatSession, f"/v1/chats/{chat_id}/sessions")

    async def keep_chat_session(self, session: OpenedChatSession) -> ChatSession:
        """Say that the chat is still open here."""
        path = f"/v1/chats/{session.chat_id}/sessions/{session.id}"
        return await self._get(ChatSession, "PUT", path, json={"session_token": session.session_token})

    async def end_chat_session(self, session: ChatSession) -> None:
        """Say that the chat is open here no more."""
        await self._transport.request("DELETE", f"/v1/chats/{session.chat_id}/sessions/{session.id}")

    async def _change(self, chat_id: UUID | str, **fields: Any) -> Chat:
        return await self._get(Chat, "PATCH", f"/v1/chats/{chat_id}", json=given(**fields), repeatable=True)
