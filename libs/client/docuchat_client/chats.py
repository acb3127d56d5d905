"""Chats and what was said in them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from docuchat_client.calls import Calls
from docuchat_client.models import Chat, ChatWithMessages, Message, Page


class Chats(Calls):
    """The part of a client that keeps chats."""

    async def create_chat(self, title: str | None = None) -> Chat:
        """A new, empty chat."""
        return await self._get(Chat, "POST", "/v1/chats", json={"title": title} if title else {})

    async def chats(self, *, limit: int | None = None, cursor: str | None = None, q: str | None = None) -> Page[Chat]:
        """One page of the chats, newest first."""
        return await self._get(Page[Chat], "GET", "/v1/chats", params={"limit": limit, "cursor": cursor, "q": q})

    async def chat(
        self, chat_id: UUID | str, *, limit: int | None = None, cursor: str | None = None
    ) -> ChatWithMessages:
        """A chat and a page of its messages."""
        params = {"limit": limit, "cursor": cursor}
        return await self._get(ChatWithMessages, "GET", f"/v1/chats/{chat_id}", params=params)

    async def rename_chat(self, chat_id: UUID | str, title: str) -> Chat:
        """Give the chat another title."""
        return await self._get(Chat, "PATCH", f"/v1/chats/{chat_id}", json={"title": title}, repeatable=True)

    async def delete_chat(self, chat_id: UUID | str) -> None:
        """Delete the chat and its messages."""
        await self._transport.request("DELETE", f"/v1/chats/{chat_id}")

    async def messages(
        self, chat_id: UUID | str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[Message]:
        """One page of a chat's messages."""
        params = {"chat_id": str(chat_id), "limit": limit, "cursor": cursor}
        return await self._get(Page[Message], "GET", "/v1/messages", params=params)

    async def add_message(self, chat_id: UUID | str, content: str, metadata: dict[str, Any] | None = None) -> Message:
        """Store a message of the user without asking the model."""
        body: dict[str, Any] = {"chat_id": str(chat_id), "content": content}
        if metadata is not None:
            body["metadata"] = metadata
        return await self._get(Message, "POST", "/v1/messages", json=body)
