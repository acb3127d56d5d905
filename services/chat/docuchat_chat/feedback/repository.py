"""Rows of feedback in, domain objects out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from docuchat_chat.feedback.domain import Feedback, Opinion, RatedMessage
from docuchat_common.db.queries import load_queries
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatId, MessageId

_queries: Any = load_queries("docuchat_chat.feedback")


class FeedbackRepository:
    """Feedback."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find_message(self, caller: Caller, message_id: MessageId) -> RatedMessage | None:
        """Return a message of an own chat, kept from being deleted until the transaction ends."""
        row = await _queries.find_message(self._connection, **_own(caller), message_id=message_id)
        if row is None:
            return None
        return RatedMessage(
            MessageId(row["id"]), ChatId(row["chat_id"]), row["chatbot_id"], is_answer=row["role"] == "assistant"
        )

    async def put(self, caller: Caller, message_id: MessageId, opinion: Opinion) -> Feedback | None:
        """Keep what a caller thinks of an answer, in the place of what was said before; None when that was the same."""
        row = await _queries.put(
            self._connection,
            **_own(caller),
            subject_type=caller.subject_type,
            message_id=message_id,
            rating=opinion.rating,
            reason=opinion.reason,
            text=opinion.text,
        )
        return _feedback(row) if row is not None else None

    async def delete(self, caller: Caller, message_id: MessageId) -> bool:
        """Delete what a caller thinks of an answer; False when nothing was said."""
        status: str = await _queries.delete(self._connection, **_own(caller), message_id=message_id)
        return status != "DELETE 0"

    async def list_own(self, caller: Caller, message_ids: Sequence[MessageId]) -> dict[MessageId, Feedback]:
        """Return what a caller thinks of some messages."""
        rows = _queries.list_own(self._connection, **_own(caller), message_ids=list(message_ids))
        return {feedback.message_id: feedback async for feedback in (_feedback(row) async for row in rows)}


def _own(caller: Caller) -> dict[str, Any]:
    return {"tenant_id": caller.tenant_id, "subject_id": caller.subject_id}


def _feedback(row: asyncpg.Record) -> Feedback:
    return Feedback(
        MessageId(row["message_id"]),
        Opinion(row["rating"], row["reason"], row["text"]),
        row["created_at"],
        row["updated_at"],
    )
