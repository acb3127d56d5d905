"""Written by scripts/write_blocking.py from chatbots.py: `make openapi` writes it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.blocking.runtime import Blocking
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
from docuchat_client.models import ChatWithMessages


class BlockingChatbots(Blocking):
    """The part of a client that is about chatbots; most of it is for who manages them."""

    _client: AsyncDocuChat

    def chatbots(self, *, q: str | None = None) -> Iterator[Chatbot]:
        """Every chatbot, the newest first; those that are published to who does not manage them."""
        return self._loop.iterate(self._client.chatbots(q=q))

    def chatbot(self, chatbot_id: UUID | str) -> Chatbot:
        """One chatbot."""
        return self._loop.run(self._client.chatbot(chatbot_id))

    def find_chatbot(self, reference: UUID | str) -> Chatbot:
        """The chatbot of this name, id or publishable id. Raises NotFound."""
        return self._loop.run(self._client.find_chatbot(reference))

    def create_chatbot(
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
        return self._loop.run(
            self._client.create_chatbot(name, fields, publish=publish, idempotency_key=idempotency_key)
        )

    def change_chatbot(
        self, chatbot_id: UUID | str, fields: Mapping[str, Any], *, revision: int | None = None
    ) -> Chatbot:
        """Change the draft; name, description, origins and limits hold at once. What is left out stays.

        With the `revision` of the chatbot as it was read, nobody else's change is overwritten: Conflict with code
        `chatbot_changed`.
        """
        return self._loop.run(self._client.change_chatbot(chatbot_id, fields, revision=revision))

    def delete_chatbot(self, chatbot_id: UUID | str) -> None:
        """Delete a chatbot, its versions, key, visitors, documents and all chats with it."""
        self._loop.run(self._client.delete_chatbot(chatbot_id))

    def publish_chatbot(
        self, chatbot_id: UUID | str, *, revision: int | None = None, idempotency_key: str | None = None
    ) -> ChatbotVersion:
        """Make the next version of the draft, which answers from now on."""
        return self._loop.run(
            self._client.publish_chatbot(chatbot_id, revision=revision, idempotency_key=idempotency_key)
        )

    def unpublish_chatbot(self, chatbot_id: UUID | str) -> Chatbot:
        """Let it answer nobody until a version is published or restored."""
        return self._loop.run(self._client.unpublish_chatbot(chatbot_id))

    def chatbot_versions(self, chatbot_id: UUID | str) -> Iterator[ChatbotVersion]:
        """Every version, the newest first."""
        return self._loop.iterate(self._client.chatbot_versions(chatbot_id))

    def chatbot_version(self, chatbot_id: UUID | str, version: int | str) -> ChatbotVersion:
        """A version, or the `draft`."""
        return self._loop.run(self._client.chatbot_version(chatbot_id, version))

    def chatbot_changes(
        self, chatbot_id: UUID | str, version: int | str = "draft", *, since: int | str | None = None
    ) -> Changes:
        """What is different in a version, or the draft, from version `since`, or from the one before it."""
        return self._loop.run(self._client.chatbot_changes(chatbot_id, version, since=since))

    def restore_chatbot(
        self, chatbot_id: UUID | str, version: int, *, idempotency_key: str | None = None
    ) -> ChatbotVersion:
        """Publish what an older version says, as the next one, and set the draft to it."""
        return self._loop.run(self._client.restore_chatbot(chatbot_id, version, idempotency_key=idempotency_key))

    def rotate_chatbot_key(
        self, chatbot_id: UUID | str, *, overlap_seconds: int | None = None, idempotency_key: str | None = None
    ) -> RotatedKey:
        """Another secret, told this once; the one before works for an hour, or for `overlap_seconds`.

        Needs a sign-in of the last 15 minutes: else Forbidden with code `recent_sign_in_required`.
        """
        return self._loop.run(
            self._client.rotate_chatbot_key(
                chatbot_id, overlap_seconds=overlap_seconds, idempotency_key=idempotency_key
            )
        )

    def chatbot_snippet(self, chatbot_id: UUID | str) -> Snippet:
        """The script tag that shows it on a page, with the widget's integrity hash."""
        return self._loop.run(self._client.chatbot_snippet(chatbot_id))

    def shown_chatbot(self, publishable_id: str) -> ShownChatbot:
        """What a page shows of a chatbot; for everybody."""
        return self._loop.run(self._client.shown_chatbot(publishable_id))

    def visitor_token(self, publishable_id: str, origin: str, *, visitor_token: str | None = None) -> VisitorToken:
        """What a page of `origin` gets for its visitor, for 15 minutes; with an older token for the same visitor."""
        return self._loop.run(self._client.visitor_token(publishable_id, origin, visitor_token=visitor_token))

    def public_chat(
        self, session_id: str | int, *, limit: int | None = None, cursor: str | None = None
    ) -> ChatWithMessages:
        """What was said in a session, to who has the chatbot's key or the visitor's token."""
        return self._loop.run(self._client.public_chat(session_id, limit=limit, cursor=cursor))

    def chatbot_conversations(self, chatbot_id: UUID | str) -> Iterator[AskedChat]:
        """Every chat with it, the last first."""
        return self._loop.iterate(self._client.chatbot_conversations(chatbot_id))

    def chatbot_conversation(
        self, chatbot_id: UUID | str, chat_id: UUID | str, *, limit: int | None = None, cursor: str | None = None
    ) -> AskedChatWithMessages:
        """A chat with it, and a page of its messages."""
        return self._loop.run(self._client.chatbot_conversation(chatbot_id, chat_id, limit=limit, cursor=cursor))

    def chatbot_insights(self, chatbot_id: UUID | str, *, days: int | None = None) -> Insights:
        """Its use by day and version, what found nothing, and what readers thought, of 30 days unless said."""
        return self._loop.run(self._client.chatbot_insights(chatbot_id, days=days))
