"""Questions and their answers, whole or as they are made."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Literal, TypeVar
from uuid import UUID

import httpx2
from pydantic import BaseModel

from docuchat_client.answers import AnswerStream, Channel
from docuchat_client.bodies import given, question_body
from docuchat_client.calls import Calls
from docuchat_client.chatbot_models import ChatbotAnswer
from docuchat_client.models import Answer, Begun

Version = int | Literal["draft"]
M = TypeVar("M", bound=BaseModel)


class Asking(Calls):
    """The part of a client that asks."""

    async def ask(
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
        question = question_body(
            message,
            chat_id=chat_id,
            session_id=session_id,
            model=model,
            document_ids=document_ids,
            collection_id=collection_id,
            chatbot_id=chatbot_id,
            attachments=attachments,
            parent_id=parent_id,
        )
        return await self._asked(Answer, "/v1/chat", question, idempotency_key)

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
    ) -> AnswerStream:
        """The answer as it is made: `async with client.stream("…") as answer: async for word in answer.text(): …`."""
        question = question_body(
            message,
            chat_id=chat_id,
            session_id=session_id,
            model=model,
            document_ids=document_ids,
            collection_id=collection_id,
            chatbot_id=chatbot_id,
            attachments=attachments,
            parent_id=parent_id,
        )
        return AnswerStream(self._transport, question, channel=channel)

    async def begin(
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
        question = question_body(
            message, chat_id=chat_id, session_id=session_id, chatbot_id=chatbot_id, attachments=attachments
        )
        return await self._asked(Begun, "/v1/chat", {**question, "detach": True}, idempotency_key)

    def resume(self, turn_id: UUID | str, *, after: int = 0, channel: Channel = "websocket") -> AnswerStream:
        """An answer that was begun elsewhere, behind piece number `after`."""
        return AnswerStream(self._transport, None, channel=channel, resume=UUID(str(turn_id)), after=after)

    async def stop(self, turn_id: UUID | str) -> None:
        """End an answer that is being made."""
        await self._transport.request("POST", f"/v1/turns/{turn_id}/stop", repeatable=True)

    # Another branch of a chat

    async def regenerate(
        self, message_id: UUID | str, *, model: str | None = None, idempotency_key: str | None = None
    ) -> Answer:
        """Have the question of an answer answered once more; both answers stay, beside each other."""
        path = f"/v1/messages/{message_id}/regenerate"
        return await self._asked(Answer, path, given(model=model), idempotency_key)

    async def begin_regenerated(
        self, message_id: UUID | str, *, model: str | None = None, idempotency_key: str | None = None
    ) -> Begun:
        """As `regenerate`, and go on at once; `events` tells of the answer, `resume` reads it."""
        body = {**given(model=model), "detach": True}
        return await self._asked(Begun, f"/v1/messages/{message_id}/regenerate", body, idempotency_key)

    def stream_regenerated(self, message_id: UUID | str, *, model: str | None = None) -> AnswerStream:
        """As `regenerate`, as it is made."""
        return self._streamed(f"/v1/messages/{message_id}/regenerate", given(model=model))

    async def edit_message(
        self, message_id: UUID | str, message: str, *, model: str | None = None, idempotency_key: str | None = None
    ) -> Answer:
        """Ask a question in other words, beside the one that was asked."""
        path = f"/v1/messages/{message_id}/edit"
        return await self._asked(Answer, path, given(message=message, model=model), idempotency_key)

    async def begin_edited(
        self, message_id: UUID | str, message: str, *, model: str | None = None, idempotency_key: str | None = None
    ) -> Begun:
        """As `edit_message`, and go on at once; `events` tells of the answer, `resume` reads it."""
        body = {**given(message=message, model=model), "detach": True}
        return await self._asked(Begun, f"/v1/messages/{message_id}/edit", body, idempotency_key)

    def stream_edited(self, message_id: UUID | str, message: str, *, model: str | None = None) -> AnswerStream:
        """As `edit_message`, as it is made."""
        return self._streamed(f"/v1/messages/{message_id}/edit", given(message=message, model=model))

    # Chatbots

    async def query_chatbot(
        self,
        chatbot_id: UUID | str,
        question: str,
        *,
        session_id: str | int | None = None,
        version: Version | None = None,
        idempotency_key: str | None = None,
    ) -> ChatbotAnswer:
        """A chatbot's answer; who manages chatbots may ask another `version` than the live one, or the draft."""
        body = given(question=question, session_id=session_id, version=version)
        return await self._asked(ChatbotAnswer, f"/v1/chatbots/{chatbot_id}/query", body, idempotency_key)

    def stream_chatbot(
        self,
        chatbot_id: UUID | str,
        question: str,
        *,
        session_id: str | int | None = None,
        version: Version | None = None,
    ) -> AnswerStream:
        """As `query_chatbot`, as it is made."""
        body = given(question=question, session_id=session_id, version=version)
        return self._streamed(f"/v1/chatbots/{chatbot_id}/query", body)

    async def query_public(
        self,
        publishable_id: UUID | str,
        question: str,
        *,
        session_id: str | int | None = None,
        idempotency_key: str | None = None,
    ) -> ChatbotAnswer:
        """A chatbot's answer to who has its secret key (`api_key`) or a visitor's token (`access_token`, `origin`)."""
        body = given(question=question, session_id=session_id)
        return await self._asked(ChatbotAnswer, f"/v1/public/chatbots/{publishable_id}/query", body, idempotency_key)

    def stream_public(
        self, publishable_id: UUID | str, question: str, *, session_id: str | int | None = None
    ) -> AnswerStream:
        """As `query_public`, as it is made."""
        body = given(question=question, session_id=session_id)
        return self._streamed(f"/v1/public/chatbots/{publishable_id}/query", body)

    async def _asked(self, model: type[M], path: str, body: dict[str, Any], idempotency_key: str | None) -> M:
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        timeout = httpx2.Timeout(300.0, connect=5.0, pool=None)
        return await self._get(model, "POST", path, json=body, headers=headers, timeout=timeout)

    def _streamed(self, path: str, body: dict[str, Any]) -> AnswerStream:
        return AnswerStream(self._transport, body, channel="sse", path=path)
