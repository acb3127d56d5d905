"""What is asked of a question before it costs anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from docuchat_chat.answers.errors import MessageEmpty
from docuchat_chat.answers.ports import CounterFor
from docuchat_chat.answers.prompt import TOKENS_PER_MESSAGE, fixed_tokens, seamless
from docuchat_chat.conversations.errors import MessageTooLong
from docuchat_chat.turns.domain import BranchKind, Question
from docuchat_chat.turns.drafts import Draft
from docuchat_chat.turns.fallbacks import Standby
from docuchat_chat.turns.policy import Policy

_SURE: Final = 0.9
"""Of a model's window that is filled."""


class Checks:
    """Refuses questions that cannot be answered, and tells what the others may cost."""

    def __init__(self, policy: Policy, standby: Standby, counter_for: CounterFor) -> None:
        self._policy = policy
        self._standby = standby
        self._counter_for = counter_for

    def clean(self, question: Question) -> Question:
        """Return a question as it is stored. Raises MessageTooLong or MessageEmpty."""
        if question.branch is not None and question.branch.kind is BranchKind.REGENERATE:
            return question  # it was stored before
        limit = self._policy.max_message_chars
        if len(question.text) > limit:
            raise MessageTooLong(
                f"The message has {len(question.text)} characters; {limit} are allowed.",
                limit=limit,
            )
        text = question.text.replace("\x00", "").strip()
        if not text:
            raise MessageEmpty
        session_id = question.session_id.replace("\x00", "") if question.session_id else None
        return replace(question, text=text, session_id=session_id)

    async def measure(self, draft: Draft) -> None:
        """Find the model for a question under its setup, and give it its budget.

        Raises ModelNotAllowed or MessageTooLong.
        """
        policy, question, setup = self._policy, draft.question, draft.setup
        draft.model, draft.standby, draft.fallback = await self._standby.choose(draft.caller.tenant_id, setup)
        most = self._fit(draft)
        setup = draft.setup
        counter = self._counter_for(draft.model.model)
        tokens, asked = counter.count(question.text), seamless(question.text)
        fixed = fixed_tokens(asked, setup, counter)
        if fixed > most:
            raise MessageTooLong(
                f"The message has {tokens} tokens and leaves no room for sources within {most}.",
                limit=most,
            )
        has_history = draft.chat is not None or question.may_follow
        history = policy.max_history_tokens if has_history else 0
        draft.question = replace(question, tokens=tokens, asked=asked)
        draft.budget = min(most, fixed + setup.top_k * policy.source_tokens + history + TOKENS_PER_MESSAGE)

    def _fit(self, draft: Draft) -> int:
        """Return how long the prompt may be, for who answers and who stands by; the answer is shortened to the rest."""
        asked = (each.context_window for each in (draft.model, draft.standby) if each is not None)
        window = min((each for each in asked if each is not None), default=None)
        if window is None:
            return self._policy.max_context_tokens
        # Its tokens are counted in a vocabulary that may not be its own.
        window = int(window * _SURE)
        longest = min(self._policy.longest_answer(draft.setup), window // 2)
        draft.setup = replace(draft.setup, max_output_tokens=longest)
        return min(self._policy.max_context_tokens, window - longest)
