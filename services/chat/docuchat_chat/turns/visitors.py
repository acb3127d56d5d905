"""What chatbots and their visitors may use: how often an address may ask, the demo, and the chatbot's own limits."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from docuchat_chat.answers.terms import NO_TERMS, Terms
from docuchat_chat.chatbots.domain import Chatbot
from docuchat_chat.turns.drafts import Draft
from docuchat_chat.turns.policy import Demo
from docuchat_common.contracts.holds import LimitUnit, StatedLimit, Subject, SubjectType
from docuchat_common.ids import ChatbotId
from docuchat_common.rate_limits import Limit, Rate, RateLimiter

ADDRESS_LIMIT = "questions_per_address"


class Visitors:
    """Admits visitors' questions, and says under which terms questions to chatbots are held.

    Addresses are counted by a keyed hash of chatbot and address, so that none is stored and none can be found again.
    """

    def __init__(self, limiter: RateLimiter, demo: Demo, questions: Sequence[Rate], address_key: bytes) -> None:
        self._limiter = limiter
        self._demo = demo
        self._questions = questions
        self._address_key = address_key

    async def admit(self, draft: Draft, chatbot_id: ChatbotId) -> None:
        """Count a visitor's question for the address that it comes from. Raises RateLimited."""
        if draft.caller.subject_type == "visitor":
            place = f"{draft.caller.tenant_id}:{self._place(chatbot_id, draft.address)}"
            await self._limiter.require(*(Limit(ADDRESS_LIMIT, place, rate) for rate in self._questions))

    def terms(self, draft: Draft) -> Terms:
        """Return what a question is held under; nothing besides its caller where no chatbot is asked."""
        chatbot = draft.chatbot
        if chatbot is None:
            return NO_TERMS
        subjects = [Subject(type=SubjectType.CHATBOT, id=str(chatbot.id))]
        limits = [
            _limit(SubjectType.CHATBOT, LimitUnit.TOKENS, chatbot.tokens_per_month),
            _limit(SubjectType.CHATBOT, LimitUnit.COST, None),  # counted, for the report of usage
            _limit(SubjectType.CHATBOT, LimitUnit.MESSAGES, None),
        ]
        if draft.caller.subject_type == "visitor":
            subjects += [
                Subject(type=SubjectType.ADDRESS, id=self._place(chatbot.id, draft.address)),
                Subject(type=SubjectType.VISITORS, id=str(chatbot.id)),
            ]
            limits += self._demo_of(chatbot)
        return Terms(tuple(subjects), tuple(limits))

    def _demo_of(self, chatbot: Chatbot) -> list[StatedLimit]:
        demo = self._demo
        messages = demo.messages if chatbot.demo_messages is None else chatbot.demo_messages
        per_address = messages if demo.per_address is None else demo.per_address
        return [
            _limit(SubjectType.VISITOR, LimitUnit.TOKENS, chatbot.tokens_per_visitor),
            _limit(SubjectType.VISITOR, LimitUnit.MESSAGES, messages or None),
            _limit(SubjectType.ADDRESS, LimitUnit.MESSAGES, (messages and per_address) or None),
            _limit(SubjectType.VISITORS, LimitUnit.MESSAGES, (messages and demo.per_chatbot) or None),
        ]

    def _place(self, chatbot_id: ChatbotId, address: str) -> str:
        return hmac.new(self._address_key, f"{chatbot_id} {address}".encode(), hashlib.sha256).hexdigest()[:32]


def _limit(kind: SubjectType, unit: LimitUnit, amount: int | None) -> StatedLimit:
    return StatedLimit(type=kind, unit=unit, amount=amount)
