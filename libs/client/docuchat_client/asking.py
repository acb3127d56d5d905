"""Questions and their answers, whole or as they are made."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from uuid import UUID

import httpx2

from docuchat_client.answers import AnswerStream, Channel
from docuchat_client.bodies import question_body
from docuchat_client.calls import Calls
from docuchat_client.models import Answer


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
        idempotency_key: str | None = None,
    ) -> Answer:
        """The whole answer at once."""
        question = question_body(message, chat_id, session_id, model, document_ids, collection_id)
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        timeout = httpx2.Timeout(300.0, connect=5.0, pool=None)
        return await self._get(Answer, "POST", "/v1/chat", json=question, headers=headers, timeout=timeout)

    def stream(
        self,
        message: str,
        *,
        chat_id: UUID | str | None = None,
        session_id: str | int | None = None,
        model: str | None = None,
        document_ids: Sequence[UUID | str] | None = None,
        collection_id: UUID | str | None = None,
        channel: Channel = "websocket",
    ) -> AnswerStream:
        """The answer as it is made: `async with client.stream("…") as answer: async for word in answer.text(): …`."""
        question = question_body(message, chat_id, session_id, model, document_ids, collection_id)
        return AnswerStream(self._transport, question, channel=channel)

    def resume(self, turn_id: UUID | str, *, after: int = 0, channel: Channel = "websocket") -> AnswerStream:
        """An answer that was begun elsewhere, behind piece number `after`."""
        return AnswerStream(self._transport, None, channel=channel, resume=UUID(str(turn_id)), after=after)

    async def stop(self, turn_id: UUID | str) -> None:
        """End an answer that is being made."""
        await self._transport.request("POST", f"/v1/turns/{turn_id}/stop", repeatable=True)
