"""The preparation of a turn, step by step, without a token spent that is not held.

A step takes the draft and adds to it what it finds. What a new step needs of the others decides its place: what costs
nothing and needs nothing runs beside the hold; what costs tokens waits for it; what builds the prompt comes last.
"""

from __future__ import annotations

import asyncio

from docuchat_chat.answers.domain import Hold
from docuchat_chat.answers.rewriting import MOST_TOKENS
from docuchat_chat.answers.small_talk import remark_in
from docuchat_chat.turns.attached import Attached
from docuchat_chat.turns.drafts import Draft
from docuchat_chat.turns.generation import Generator
from docuchat_chat.turns.histories import Histories
from docuchat_chat.turns.live import LiveTurn
from docuchat_chat.turns.policy import Policy
from docuchat_chat.turns.ports import Holds
from docuchat_chat.turns.rewriting import Rewriting
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
        rewriting: Rewriting,
        sources: Sources,
        attached: Attached,
        writing: Writing,
        visitors: Visitors,
        generator: Generator,
        policy: Policy,
    ) -> None:
        self._holds = holds
        self._histories = histories
        self._rewriting = rewriting
        self._sources = sources
        self._attached = attached
        self._writing = writing
        self._visitors = visitors
        self._generator = generator
        self._policy = policy

    async def begin(self, draft: Draft) -> LiveTurn:
        """Begin to answer; nothing stays held when that fails."""
        if not draft.question.attachments:
            draft.remark = remark_in(draft.question.text)
        steps = [self._histories.look_up(draft)]
        if draft.remark is None and self._rewriting.may_lean(draft):
            await steps.pop()  # what a question leans on decides what it costs, and what is searched
            self._rewriting.plan(draft)
        opening = asyncio.create_task(self._hold(draft))
        if self._sources.is_free and draft.remark is None and not draft.rewriting_tokens:
            steps.append(self._sources.look_up(draft))  # what costs nobody anything need not wait for the budget
        results = await asyncio.gather(opening, *steps, return_exceptions=True)
        hold, failure = results[0], next((r for r in results if isinstance(r, BaseException)), None)
        if failure is not None:
            if isinstance(hold, Hold):
                await self._holds.release(hold.id)
            raise failure
        assert isinstance(hold, Hold)  # anything else was a failure
        try:
            if draft.remark is None:
                await self._search(draft)
            live, library = await self._writing.write_down(draft, hold)
        except BaseException:
            await self._holds.release(hold.id)
            raise
        if draft.remark is not None:
            said = self._writing.answer_remark(live, draft.remark)
        elif library is not None:
            said = self._writing.say_nothing_found(live, library)
        else:
            self._generator.start(live)
            return live
        # A message like any other: else what finds nothing could be asked, and embedded, without an end.
        await asyncio.gather(self._holds.settle(hold.id), said)
        return live

    async def _hold(self, draft: Draft) -> Hold:
        """Hold what the question may cost: with its answer its embedding, and what it costs to rewrite it."""
        terms = self._visitors.terms(draft)
        if draft.remark is not None:
            return await self._holds.open(draft.caller, draft.served, 0, 0, terms)
        tokens, most = draft.budget + self._sources.cost(draft), self._policy.longest_answer(draft.setup)
        if draft.rewriting_tokens:
            # Its words are embedded, too, where that is not free.
            tokens, most = tokens + draft.rewriting_tokens + MOST_TOKENS, most + MOST_TOKENS
        return await self._holds.open(draft.caller, draft.served, tokens, most, terms)

    async def _search(self, draft: Draft) -> None:
        """Search what was not searched beside the hold.

        Only now: a question without budget, or for a chat that is not there, costs no call of the provider.
        """
        await self._rewriting.rewrite(draft)
        if draft.rewriting_tokens or not self._sources.is_free:
            await self._sources.look_up(draft)
        await self._attached.look_up(draft)  # which files there are is known of the chat
