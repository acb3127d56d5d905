"""Chatbots: their drafts, versions, keys and documents, and what is asked of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from uuid import UUID

from docuchat_client.bodies import given
from docuchat_client.calls import Calls
from docuchat_client.chatbot_models import (
    AskedChat,
    AskedChatWithMessages,
    Changes,
    Chatbot,
    ChatbotVersion,
    CreatedChatbot,
    Insights,
    RotatedKey,
    ShownChatbot,
    Snippet,
    VisitorToken,
)
from docuchat_client.errors import NotFound
from docuchat_client.models import ChatWithMessages, Page

_PATH: Final = "/v1/chatbots"


class Chatbots(Calls):
    """The part of a client that is about chatbots; most of it is for who manages them."""

    def chatbots(self, *, q: str | None = None) -> AsyncIterator[Chatbot]:
        """Every chatbot, the newest first; those that are published to who does not manage them."""
        return self._every(Page[Chatbot], _PATH, q=q)

    async def chatbot(self, chatbot_id: UUID | str) -> Chatbot:
        """One chatbot."""
        return await self._get(Chatbot, "GET", f"{_PATH}/{chatbot_id}")

    async def find_chatbot(self, reference: UUID | str) -> Chatbot:
        """The chatbot of this name, id or publishable id. Raises NotFound."""
        named = str(reference).strip().casefold()
        async for chatbot in self.chatbots():
            if named in (str(chatbot.id), chatbot.publishable_id.casefold(), chatbot.name.casefold()):
                return chatbot
        message = f"There is no chatbot {reference!r} that you may see; `docuchat chatbots list` shows them."
        raise NotFound(message, code="chatbot_not_found")

    async def create_chatbot(
        self,
        name: str,
        fields: Mapping[str, Any] | None = None,
        *,
        publish: bool = False,
        idempotency_key: str | None = None,
    ) -> CreatedChatbot:
        """A chatbot with a draft, published at once or later; its `secret_key` is told this once.

        It is told to a user who signed in within the last 15 minutes; others make the chatbot without
        (`secret_key_withheld`), and `rotate_chatbot_key` tells one after a sign-in.
        `fields` are those of POST /v1/chatbots: `system_prompt`, `collections`, `greeting`, `origins` and so on.
        """
        body = {"name": name, **(fields or {}), **given(publish=publish or None)}
        return await self._create(CreatedChatbot, _PATH, body, idempotency_key)

    async def change_chatbot(
        self, chatbot_id: UUID | str, fields: Mapping[str, Any], *, revision: int | None = None
    ) -> Chatbot:
        """Change the draft; name, description, origins and limits hold at once. What is left out stays.

        With the `revision` of the chatbot as it was read, nobody else's change is overwritten: Conflict with code
        `chatbot_changed`.
        """
        body = {**fields, **given(revision=revision)}
        return await self._get(Chatbot, "PATCH", f"{_PATH}/{chatbot_id}", json=body, repeatable=revision is None)

    async def delete_chatbot(self, chatbot_id: UUID | str) -> None:
        """Delete a chatbot, its versions, key, visitors, documents and all chats with it."""
        await self._transport.request("DELETE", f"{_PATH}/{chatbot_id}")

    # Versions

    async def publish_chatbot(
        self, chatbot_id: UUID | str, *, revision: int | None = None, idempotency_key: str | None = None
    ) -> ChatbotVersion:
        """Make the next version of the draft, which answers from now on."""
        path = f"{_PATH}/{chatbot_id}/publish"
        return await self._create(ChatbotVersion, path, given(revision=revision), idempotency_key)

    async def unpublish_chatbot(self, chatbot_id: UUID | str) -> Chatbot:
        """Let it answer nobody until a version is published or restored."""
        return await self._get(Chatbot, "POST", f"{_PATH}/{chatbot_id}/unpublish")

    def chatbot_versions(self, chatbot_id: UUID | str) -> AsyncIterator[ChatbotVersion]:
        """Every version, the newest first."""
        return self._every(Page[ChatbotVersion], f"{_PATH}/{chatbot_id}/versions")

    async def chatbot_version(self, chatbot_id: UUID | str, version: int | str) -> ChatbotVersion:
        """A version, or the `draft`."""
        return await self._get(ChatbotVersion, "GET", f"{_PATH}/{chatbot_id}/versions/{version}")

    async def chatbot_changes(
        self, chatbot_id: UUID | str, version: int | str = "draft", *, since: int | str | None = None
    ) -> Changes:
        """What is different in a version, or the draft, from version `since`, or from the one before it."""
        path = f"{_PATH}/{chatbot_id}/versions/{version}/changes"
        return await self._get(Changes, "GET", path, params={"from": since})

    async def restore_chatbot(
        self, chatbot_id: UUID | str, version: int, *, idempotency_key: str | None = None
    ) -> ChatbotVersion:
        """Publish what an older version says, as the next one, and set the draft to it."""
        path = f"{_PATH}/{chatbot_id}/versions/{version}/restore"
        return await self._create(ChatbotVersion, path, None, idempotency_key)

    # Its key, and its visitors

    async def rotate_chatbot_key(
        self, chatbot_id: UUID | str, *, overlap_seconds: int | None = None, idempotency_key: str | None = None
    ) -> RotatedKey:
        """Another secret, told this once; the one before works for an hour, or for `overlap_seconds`.

        Needs a sign-in of the last 15 minutes: else Forbidden with code `recent_sign_in_required`.
        """
        body = given(overlap_seconds=overlap_seconds)
        return await self._create(RotatedKey, f"{_PATH}/{chatbot_id}/rotate_key", body, idempotency_key)

    async def chatbot_snippet(self, chatbot_id: UUID | str) -> Snippet:
        """The script tag that shows it on a page, with the widget's integrity hash."""
        return await self._get(Snippet, "GET", f"{_PATH}/{chatbot_id}/snippet")

    async def shown_chatbot(self, publishable_id: str) -> ShownChatbot:
        """What a page shows of a chatbot; for everybody."""
        return await self._get(ShownChatbot, "GET", f"/v1/public/chatbots/{publishable_id}", signed=False)

    async def visitor_token(
        self, publishable_id: str, origin: str, *, visitor_token: str | None = None
    ) -> VisitorToken:
        """What a page of `origin` gets for its visitor, for 15 minutes; with an older token for the same visitor."""
        path = f"/v1/public/chatbots/{publishable_id}/visitors"
        body = given(visitor_token=visitor_token)
        return await self._get(VisitorToken, "POST", path, json=body, headers={"Origin": origin}, signed=False)

    async def public_chat(
        self, session_id: str | int, *, limit: int | None = None, cursor: str | None = None
    ) -> ChatWithMessages:
        """What was said in a session, to who has the chatbot's key or the visitor's token."""
        params = {"limit": limit, "cursor": cursor}
        return await self._get(ChatWithMessages, "GET", f"/v1/public/chats/{session_id}", params=params)

    # What it is used for

    def chatbot_conversations(self, chatbot_id: UUID | str) -> AsyncIterator[AskedChat]:
        """Every chat with it, the last first."""
        return self._every(Page[AskedChat], f"{_PATH}/{chatbot_id}/conversations")

    async def chatbot_conversation(
        self,
        chatbot_id: UUID | str,
        chat_id: UUID | str,
        *,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> AskedChatWithMessages:
        """A chat with it, and a page of its messages."""
        path = f"{_PATH}/{chatbot_id}/conversations/{chat_id}"
        return await self._get(AskedChatWithMessages, "GET", path, params={"limit": limit, "cursor": cursor})

    async def chatbot_insights(self, chatbot_id: UUID | str, *, days: int | None = None) -> Insights:
        """Its use by day and version, what found nothing, and what readers thought, of 30 days unless said."""
        return await self._get(Insights, "GET", f"{_PATH}/{chatbot_id}/insights", params={"days": days})
