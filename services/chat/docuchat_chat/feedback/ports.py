"""What feedback needs from the world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from docuchat_chat.feedback.domain import Feedback, Opinion, RatedMessage
from docuchat_common.http.caller import Caller
from docuchat_common.ids import MessageId
from docuchat_common.messaging.outbox import Outbox


class FeedbackStore(Protocol):
    """Feedback of one tenant."""

    async def find_message(self, caller: Caller, message_id: MessageId) -> RatedMessage | None:
        """Return a message of an own chat, kept from being deleted until the transaction ends."""
        ...

    async def put(self, caller: Caller, message_id: MessageId, opinion: Opinion) -> Feedback | None:
        """Keep what a caller thinks of an answer, in the place of what was said before; None when that was the same."""
        ...

    async def delete(self, caller: Caller, message_id: MessageId) -> bool:
        """Delete what a caller thinks of an answer; False when nothing was said."""
        ...

    async def list_own(self, caller: Caller, message_ids: Sequence[MessageId]) -> dict[MessageId, Feedback]:
        """Return what a caller thinks of some messages."""
        ...


class FeedbackTx(Protocol):
    """What of a transaction feedback uses."""

    @property
    def feedback(self) -> FeedbackStore:
        """Feedback."""
        ...

    @property
    def outbox(self) -> Outbox:
        """Events."""
        ...
