"""The preparation of a turn, step by step, without a token spent that is not held.

A step takes the draft and adds to it what it finds. What a new step needs of the others decides its place: what costs
nothing and needs nothing runs beside the hold; what costs tokens waits for it; what builds the prompt comes last.
"""

from __future__ import annotations

import asyncio

from docuchat_chat.answers.domain import Hold
from docuchat_chat.turns.attached import Attached
from docuchat_chat.turns.drafts import Draft
from docuchat_chat.turns.generation import Generator
from docuchat_chat.turns.histories import Histories
from docuchat_chat.turns.live import LiveTurn
from docuchat_chat.turns.policy import Policy
from docuchat_chat.turns.ports import Holds
from docuchat_chat.turns.sources import Sources
from docuchat_chat.turns.visitors import Visitors
from docuchat_chat.turns.writing import Writing


class Preparation:
    """Makes a running turn of a draft."""

    def __init__(
        self,
        *,
        holds: Holds,
        histories: Histories,
        sources: Sources,
        attached: Attached,
        writing: Writing,
        visitors: Visitors,
        generator: Generator,
        policy: Policy,
    ) -> None:
        self._holds = holds
        self._histories = histories
        self._sources = sources
        self._attached = attached
        self._writing = writing
        self._visitors = visitors
        self._generator = generator
        self._policy = policy

    async def begin(self, draft: Draft) -> LiveTurn:
        """Begin to answer; nothing stays held when that fails."""
        # The question's embedding is held with its answer.
        tokens = draft.budget + self._sources.cost(draft)
        terms = self._visitors.terms(draft)
        opening = asyncio.create_task(
            self._holds.open(draft.caller, draft.setup.model, tokens, self._policy.max_output_tokens, terms)
        )
        steps = [self._histories.look_up(draft)]
        if self._sources.is_free:
            steps.append(self._sources.look_up(draft))  # what costs nobody anything need not wait for the budget
        results = await asyncio.gather(opening, *steps, return_exceptions=True)
        hold, failure = results[0], next((r for r in results if isinstance(r, BaseException)), None)
        if failure is not None:
            if isinstance(hold, Hold):
                await self._holds.release(hold.id)
            raise failure
        assert isinstance(hold, Hold)  # anything else was a failure
        try:
            if not self._sources.is_free:
                # Only now: a question without budget, or for a chat that is not there, costs no call of the provider.
                await self._sources.look_up(draft)
            await self._attached.look_up(draft)  # which files there are is known of the chat
            live, library = await self._writing.write_down(draft, hold)
        except BaseException:
            await self._holds.release(hold.id)
            raise
        if library is None:
            self._generator.start(live)
        else:
            # A message like any other: else what finds nothing could be asked, and embedded, without an end.
            await asyncio.gather(self._holds.settle(hold.id), self._writing.say_nothing_found(live, library))
        return live
