"""A question on its way to a turn: what each step of the preparation adds to it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from docuchat_chat.answers.domain import Findings, Library, PastMessage
from docuchat_chat.answers.ports import ServedModel
from docuchat_chat.answers.service import Books
from docuchat_chat.answers.setup import Setup
from docuchat_chat.answers.small_talk import Remark
from docuchat_chat.chatbots.domain import Chatbot
from docuchat_chat.conversations.domain import ANYWHERE, Chat, Place
from docuchat_chat.turns.domain import Fallback, Question
from docuchat_chat.turns.errors import TooBusy
from docuchat_common.http.caller import Caller
from docuchat_common.http.slots import Slot
from docuchat_common.idempotency import Claim
from docuchat_common.ids import TurnId


@dataclass(slots=True)
class Draft:
    """A question on its way to a turn, and what each step found for it."""

    caller: Caller
    question: Question
    setup: Setup
    turn_id: TurnId
    slot: Slot
    address: str = ""
    """Where a visitor comes from."""
    model: ServedModel | None = None
    """What answers, once it is known to be allowed."""
    standby: ServedModel | None = None
    """What answers when that one is down."""
    fallback: Fallback | None = None
    """Of what it is asked instead."""
    budget: int = 0
    """The most input tokens that it may cost: held for it, and the prompt is kept to it."""
    chatbot: Chatbot | None = None
    """The chatbot that is asked."""
    claim: Claim | None = None
    """The idempotency key of the request."""
    chat: Chat | None = None
    place: Place = ANYWHERE
    """Where in the chat it goes."""
    history: tuple[PastMessage, ...] = ()
    remark: Remark | None = None
    """What it says, if it is small talk: then nothing is searched, and no model is asked."""
    rewriting_tokens: int = 0
    """What it costs to ask a model what the question means; 0 asks none."""
    searched_as: str | None = None
    """What is searched for it; None searches the question itself."""
    vector: Any = None
    """Of what is searched, once it is embedded."""
    unready: Library | None = None
    """What is told instead of an answer, while attachments are not ready."""
    findings: Findings = field(default_factory=lambda: Findings(()))

    @property
    def served(self) -> ServedModel:
        """What answers."""
        assert self.model is not None  # every question is measured before it is prepared
        return self.model

    @property
    def searched(self) -> str:
        """What is searched."""
        return self.searched_as or self.question.text

    @property
    def books(self) -> Books:
        """Under which names its embedding is booked."""
        return Books(self.caller, turn_id=self.turn_id, chatbot_id=self.setup.chatbot_id)


async def take(slot: Slot, patience: timedelta) -> None:
    """Wait for a place among the questions that are prepared at once. Raises TooBusy."""
    try:
        async with asyncio.timeout(patience.total_seconds()):
            await slot.take()
    except TimeoutError as error:
        raise TooBusy(retry_after=timedelta(seconds=2)) from error
