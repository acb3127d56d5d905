"""Feedback: give, change, take back."""

from __future__ import annotations

from docuchat_chat.feedback.domain import Feedback, Opinion, RatedMessage
from docuchat_chat.feedback.errors import MessageNotFound, NotAnAnswer
from docuchat_chat.feedback.ports import FeedbackTx
from docuchat_common.acts import excuse_act
from docuchat_common.audit import entry
from docuchat_common.db.uow import Transactions
from docuchat_common.events.chats import MessageFeedback
from docuchat_common.http.caller import Caller
from docuchat_common.ids import MessageId


class FeedbackService:
    """What readers think of the answers that they were given."""

    def __init__(self, transactions: Transactions[FeedbackTx]) -> None:
        self._transactions = transactions

    async def give(self, caller: Caller, message_id: MessageId, opinion: Opinion) -> Feedback:
        """Keep what a caller thinks of an answer, in the place of what was said before; the same again changes nothing.

        Raises MessageNotFound, NotAnAnswer.
        """
        async with self._transactions.as_caller(caller) as tx:
            message = await _require_answer(tx, caller, message_id)
            feedback = await tx.feedback.put(caller, message_id, opinion)
            if feedback is None:
                excuse_act()
                return (await tx.feedback.list_own(caller, [message_id]))[message_id]
            tx.outbox.add(_event(caller, message, opinion))
            tx.outbox.add(entry(caller, "feedback.give", message_id, object_type="message"))
        return feedback

    async def take_back(self, caller: Caller, message_id: MessageId) -> None:
        """Delete what a caller thinks of an answer; once more changes nothing. Raises MessageNotFound, NotAnAnswer."""
        async with self._transactions.as_caller(caller) as tx:
            message = await _require_answer(tx, caller, message_id)
            if not await tx.feedback.delete(caller, message_id):
                excuse_act()
                return
            tx.outbox.add(_event(caller, message, None))
            tx.outbox.add(entry(caller, "feedback.take_back", message_id, object_type="message"))


async def _require_answer(tx: FeedbackTx, caller: Caller, message_id: MessageId) -> RatedMessage:
    message = await tx.feedback.find_message(caller, message_id)
    if message is None:
        raise MessageNotFound
    if not message.is_answer:
        raise NotAnAnswer
    return message


def _event(caller: Caller, message: RatedMessage, opinion: Opinion | None) -> MessageFeedback:
    return MessageFeedback(
        tenant_id=caller.tenant_id,
        chat_id=message.chat_id,
        message_id=message.id,
        chatbot_id=message.chatbot_id,
        subject_type=caller.subject_type,
        subject_id=caller.subject_id,
        rating=opinion.rating if opinion else "none",
        reason=opinion.reason if opinion else None,
        has_text=opinion is not None and opinion.text is not None,
    )
