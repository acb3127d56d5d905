"""What is searched for a follow-up question: rewritten with its history by the model, by a rule where that fails."""

from __future__ import annotations

from dataclasses import replace

import structlog

from docuchat_chat.answers.completions import complete
from docuchat_chat.answers.follow_ups import completed, leans, may_lean
from docuchat_chat.answers.ports import AnswerRequest, CounterFor
from docuchat_chat.answers.prompt import count_prompt
from docuchat_chat.answers.rewriting import MOST_TOKENS, messages_for, question_in
from docuchat_chat.answers.terms import payers
from docuchat_chat.turns.drafts import Draft, take
from docuchat_chat.turns.policy import Policy
from docuchat_common.errors import DocuChatError
from docuchat_common.metering import Metering, ProviderCall, call_id_of

logger = structlog.get_logger()


class Rewriter:
    """Asks a model for what a follow-up question means: once a turn, declared and settled like any other call.

    The turn's hold has room for it, and is not settled by it.
    """

    def __init__(self, *, metering: Metering, counter_for: CounterFor, policy: Policy, owner: str) -> None:
        self._metering = metering
        self._counter_for = counter_for
        self._policy = policy
        self._owner = owner

    def count(self, draft: Draft) -> int:
        """Return the tokens of the prompt."""
        return count_prompt(messages_for(draft.question.text, draft.history), self._counter_for(draft.served.model))

    async def ask(self, draft: Draft) -> str | None:
        """Return what the model makes of a question; None when it fails, or says something else. Raises TooBusy."""
        draft.slot.give_up()  # a provider that is slow keeps nobody else from asking
        said = None
        try:
            said = await self._said(draft)
        except DocuChatError as error:
            logger.info("question.not_rewritten", turn_id=str(draft.turn_id), reason=error.code)
        except TimeoutError:
            logger.info("question.not_rewritten", turn_id=str(draft.turn_id), reason="provider_timeout")
        except Exception:
            logger.exception("question.not_rewritten", turn_id=str(draft.turn_id))
        await take(draft.slot, self._policy.preparation_patience)
        return question_in(said, draft.question.text) if said is not None else None

    async def _said(self, draft: Draft) -> str:
        caller, setup, served = draft.caller, draft.setup, draft.served
        counter = self._counter_for(served.model)
        call = ProviderCall(
            id=call_id_of(draft.turn_id, "rewriting"),
            tenant_id=caller.tenant_id,
            kind="chat",
            provider=served.provider,
            model=served.model,
            expected_input_tokens=draft.rewriting_tokens,
            expected_output_tokens=MOST_TOKENS,
            owner=self._owner,
            subjects=payers(caller, setup.chatbot_id),
            chat_id=draft.chat.id if draft.chat is not None else None,
            turn_id=draft.turn_id,
        )
        request = AnswerRequest(
            model=served.model,
            setup=replace(setup, temperature=None),
            messages=messages_for(draft.question.text, draft.history),
            sources=(),
            question=draft.question.text,
            max_output_tokens=MOST_TOKENS,
            tenant_id=caller.tenant_id,
        )
        async with self._metering.call(call) as made:
            return await complete(served.answers, request, made, counter, self._policy.rewriting_timeout)


class Rewriting:
    """Finds what is searched for a question; one that is complete on its own costs nothing here."""

    def __init__(self, rewriter: Rewriter | None) -> None:
        """`rewriter`: None where no model is asked."""
        self._rewriter = rewriter

    def may_lean(self, draft: Draft) -> bool:
        """Tell whether a question may need its history: whether that must be known before it is searched."""
        question = draft.question
        may_follow = draft.chat is not None or question.may_follow
        return may_follow and (leans(question.text) or (self._rewriter is not None and may_lean(question.text)))

    def plan(self, draft: Draft) -> None:
        """Note what rewriting costs, now that the history is known; where no model is asked, it is done with this."""
        if not draft.history:
            return
        if self._rewriter is None:
            draft.searched_as = completed(draft.question.text, draft.history)
        else:
            draft.rewriting_tokens = self._rewriter.count(draft)

    async def rewrite(self, draft: Draft) -> None:
        """Ask the model what to search for; a question that it leaves as it is, is searched as it is."""
        if self._rewriter is None or not draft.rewriting_tokens:
            return
        text = draft.question.text
        found = await self._rewriter.ask(draft)
        if found is None and leans(text):
            found = completed(text, draft.history)
        draft.searched_as = None if found == text else found
