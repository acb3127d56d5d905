"""Written by scripts/write_blocking.py from asking.py: `make openapi` writes it again."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.answers import Channel
from docuchat_client.asking import Version
from docuchat_client.blocking.runtime import Blocking, BlockingAnswerStream
from docuchat_client.chatbot_models import ChatbotAnswer
from docuchat_client.models import Answer, Begun


class BlockingAsking(Blocking):
    """The part of a client that asks."""

    _client: AsyncDocuChat

    def ask(
        self,
        message: str,
        *,
        chat_id: UUID | str | None = None,
        session_id: str | int | None = None,
        model: str | None = None,
        document_ids: Sequence[UUID | str] | None = None,
        collection_id: UUID | str | None = None,
        chatbot_id: UUID | str | None = None,
        attachments: Sequence[UUID | str] = (),
        parent_id: UUID | str | None = None,
        idempotency_key: str | None = None,
    ) -> Answer:
        """The whole answer at once.

        `attachments` are files of `attach`; `parent_id` is the message that the question follows, in place of the last.
        """
        return self._loop.run(
            self._client.ask(
                message,
                chat_id=chat_id,
                session_id=session_id,
                model=model,
                document_ids=document_ids,
                collection_id=collection_id,
                chatbot_id=chatbot_id,
                attachments=attachments,
                parent_id=parent_id,
                idempotency_key=idempotency_key,
            )
        )

    def stream(
        self,
        message: str,
        *,
        chat_id: UUID | str | None = None,
        session_id: str | int | None = None,
        model: str | None = None,
        document_ids: Sequence[UUID | str] | None = None,
        collection_id: UUID | str | None = None,
        chatbot_id: UUID | str | None = None,
        attachments: Sequence[UUID | str] = (),
        parent_id: UUID | str | None = None,
        channel: Channel = "websocket",
    ) -> BlockingAnswerStream:
        """The answer as it is made: `async with client.stream("…") as answer: async for word in answer.text(): …`."""
        return BlockingAnswerStream(
            self._loop,
            self._client.stream(
                message,
                chat_id=chat_id,
                session_id=session_id,
                model=model,
                document_ids=document_ids,
                collection_id=collection_id,
                chatbot_id=chatbot_id,
                attachments=attachments,
                parent_id=parent_id,
                channel=channel,
            ),
        )

    def begin(
        self,
        message: str,
        *,
        chat_id: UUID | str | None = None,
        session_id: str | int | None = None,
        chatbot_id: UUID | str | None = None,
        attachments: Sequence[UUID | str] = (),
        idempotency_key: str | None = None,
    ) -> Begun:
        """Ask, and go on at once; `events` tells of the answer, `resume` reads it."""
        return self._loop.run(
            self._client.begin(
                message,
                chat_id=chat_id,
                session_id=session_id,
                chatbot_id=chatbot_id,
                attachments=attachments,
                idempotency_key=idempotency_key,
            )
        )

    def resume(self, turn_id: UUID | str, *, after: int = 0, channel: Channel = "websocket") -> BlockingAnswerStream:
        """An answer that was begun elsewhere, behind piece number `after`."""
        return BlockingAnswerStream(self._loop, self._client.resume(turn_id, after=after, channel=channel))

    def stop(self, turn_id: UUID | str) -> None:
        """End an answer that is being made."""
        self._loop.run(self._client.stop(turn_id))

    def regenerate(
        self, message_id: UUID | str, *, model: str | None = None, idempotency_key: str | None = None
    ) -> Answer:
        """Have the question of an answer answered once more; both answers stay, beside each other."""
        return self._loop.run(self._client.regenerate(message_id, model=model, idempotency_key=idempotency_key))

    def begin_regenerated(
        self, message_id: UUID | str, *, model: str | None = None, idempotency_key: str | None = None
    ) -> Begun:
        """As `regenerate`, and go on at once; `events` tells of the answer, `resume` reads it."""
        return self._loop.run(self._client.begin_regenerated(message_id, model=model, idempotency_key=idempotency_key))

    def stream_regenerated(self, message_id: UUID | str, *, model: str | None = None) -> BlockingAnswerStream:
        """As `regenerate`, as it is made."""
        return BlockingAnswerStream(self._loop, self._client.stream_regenerated(message_id, model=model))

    def edit_message(
        self, message_id: UUID | str, message: str, *, model: str | None = None, idempotency_key: str | None = None
    ) -> Answer:
        """Ask a question in other words, beside the one that was asked."""
        return self._loop.run(
            self._client.edit_message(message_id, message, model=model, idempotency_key=idempotency_key)
        )

    def begin_edited(
        self, message_id: UUID | str, message: str, *, model: str | None = None, idempotency_key: str | None = None
    ) -> Begun:
        """As `edit_message`, and go on at once; `events` tells of the answer, `resume` reads it."""
        return self._loop.run(
            self._client.begin_edited(message_id, message, model=model, idempotency_key=idempotency_key)
        )

    def stream_edited(self, message_id: UUID | str, message: str, *, model: str | None = None) -> BlockingAnswerStream:
        """As `edit_message`, as it is made."""
        return BlockingAnswerStream(self._loop, self._client.stream_edited(message_id, message, model=model))

    def query_chatbot(
        self,
        chatbot_id: UUID | str,
        question: str,
        *,
        session_id: str | int | None = None,
        version: Version | None = None,
        idempotency_key: str | None = None,
    ) -> ChatbotAnswer:
        """A chatbot's answer; who manages chatbots may ask another `version` than the live one, or the draft."""
        return self._loop.run(
            self._client.query_chatbot(
                chatbot_id, question, session_id=session_id, version=version, idempotency_key=idempotency_key
            )
        )

    def stream_chatbot(
        self,
        chatbot_id: UUID | str,
        question: str,
        *,
        session_id: str | int | None = None,
        version: Version | None = None,
    ) -> BlockingAnswerStream:
        """As `query_chatbot`, as it is made."""
        return BlockingAnswerStream(
            self._loop, self._client.stream_chatbot(chatbot_id, question, session_id=session_id, version=version)
        )

    def query_public(
        self,
        publishable_id: UUID | str,
        question: str,
        *,
        session_id: str | int | None = None,
        idempotency_key: str | None = None,
    ) -> ChatbotAnswer:
        """A chatbot's answer to who has its secret key (`api_key`) or a visitor's token (`access_token`, `origin`)."""
        return self._loop.run(
            self._client.query_public(publishable_id, question, session_id=session_id, idempotency_key=idempotency_key)
        )

    def stream_public(
        self, publishable_id: UUID | str, question: str, *, session_id: str | int | None = None
    ) -> BlockingAnswerStream:
        """As `query_public`, as it is made."""
        return BlockingAnswerStream(
            self._loop, self._client.stream_public(publishable_id, question, session_id=session_id)
        )
