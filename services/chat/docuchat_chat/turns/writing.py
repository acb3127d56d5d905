"""A prepared question written down: its prompt, its turn, and what is said when there is nothing to answer from."""

from __future__ import annotations

import structlog

from docuchat_chat.answers.domain import Hold, Library, Prompt
from docuchat_chat.answers.notices import notice
from docuchat_chat.answers.ports import CounterFor
from docuchat_chat.answers.prompt import build_prompt
from docuchat_chat.answers.small_talk import Remark, reply_to
from docuchat_chat.conversations.domain import title_of
from docuchat_chat.turns.domain import Outcome, Turn, TurnState
from docuchat_chat.turns.drafts import Draft
from docuchat_chat.turns.frames import terminal_frame
from docuchat_chat.turns.live import LiveTurn, Registry
from docuchat_chat.turns.ports import TurnsTx
from docuchat_chat.turns.settling import settle
from docuchat_common.clock import Clock
from docuchat_common.contracts.frames import FinishReason
from docuchat_common.db.uow import Transactions
from docuchat_common.ids import ChatId, MessageId, uuid7

logger = structlog.get_logger()


class Writing:
    """Writes turns before they are answered."""

    def __init__(
        self,
        *,
        transactions: Transactions[TurnsTx],
        counter_for: CounterFor,
        registry: Registry,
        owner: str,
        clock: Clock,
    ) -> None:
        self._transactions = transactions
        self._counter_for = counter_for
        self._registry = registry
        self._owner = owner
        self._clock = clock

    async def write_down(self, draft: Draft, hold: Hold) -> tuple[LiveTurn, Library | None]:
        """Build the prompt and write the turn. A library comes back when nothing was found."""
        question, counter = draft.question, self._counter_for(draft.served.model)
        budget = min(draft.budget, hold.tokens)
        prompt = build_prompt(question.asked, draft.findings.passages, draft.history, budget, draft.setup, counter)
        async with self._transactions.as_caller(draft.caller) as tx:
            library = None
            if draft.remark is not None:
                prompt = Prompt((), (), 0)
            elif draft.unready is not None:
                library, prompt = draft.unready, Prompt((), (), 0)
            elif not prompt.sources:
                library = await tx.search.library(draft.caller.tenant_id, question.document_ids, question.collection_id)
                if _may_answer_without(draft, library):
                    library = None
                else:
                    prompt = Prompt((), (), 0)
            opened = await tx.chats.open(
                draft.caller,
                draft.chat.id if draft.chat is not None else ChatId(uuid7()),
                question.session_id if draft.chat is None else None,
                title_of(question.text),
                draft.place,
                draft.setup.chatbot_id,
                is_kept=question.is_kept,
            )
            turn = Turn(
                id=draft.turn_id,
                caller=draft.caller,
                chat_id=opened.id,
                session_id=opened.session_id,
                user_message_id=draft.place.question_id or MessageId(uuid7()),
                message_id=MessageId(uuid7()),
                model=draft.served.name,
                provider=draft.served.provider,
                provider_model=draft.served.model,
                hold_id=hold.id if library is None and draft.remark is None else None,
                prompt_tokens=prompt.tokens,
                owner=self._owner,
                created_at=self._clock.now(),
                sources=prompt.sources,
                notice=draft.findings.notice,
                searched_as=draft.searched_as,
                chatbot_id=draft.setup.chatbot_id,
                chatbot_version=draft.setup.chatbot_version,
                fallback=draft.fallback,
                wants_title=opened.wants_title,
                given=question.given,
                has_key=draft.claim is not None,
            )
            new_question = question if draft.place.question_id is None else None
            await tx.turns.begin(turn, opened, new_question, counter.name)
            if question.attachments:
                await tx.attachments.keep(draft.caller.tenant_id, opened.id, question.attachments)
            if draft.claim is not None:
                await tx.requests.begin(draft.claim, turn.id)
        if question.is_kept:
            self._registry.written(turn)
        live = LiveTurn(turn, question, prompt, draft.setup, draft.served, draft.standby)
        live.is_embedded = draft.vector is not None
        return live, library

    async def say_nothing_found(self, live: LiveTurn, library: Library) -> None:
        """Answer a question to which nothing was found, without asking a model."""
        await self._say(live, notice(live.question.text, library, live.setup), "no_sources")
        logger.info("turn.no_sources", turn_id=str(live.turn.id), ready=library.ready, processing=library.processing)

    async def answer_remark(self, live: LiveTurn, remark: Remark) -> None:
        """Answer small talk, without asking a model."""
        await self._say(live, reply_to(remark, live.setup), "conversational")
        logger.info("turn.conversational", turn_id=str(live.turn.id), kind=remark.kind)

    async def _say(self, live: LiveTurn, text: str, reason: FinishReason) -> None:
        """End a turn at once with a text that no model wrote."""
        outcome = Outcome(
            state=TurnState.COMPLETED,
            text=text,
            frame_lengths=(len(text),),
            finish_reason=reason,
            usage=None,
            finished_at=self._clock.now(),
        )
        await settle(self._transactions, live.turn, outcome, self._owner)
        live.outcome = outcome
        live.log.append(text)
        live.log.close(terminal_frame(2, live.turn, outcome))
        live.finished.set()
        self._registry.end(live.turn.id)


def _may_answer_without(draft: Draft, library: Library) -> bool:
    """Tell whether a question to which nothing was found goes to the model: not while documents get ready."""
    is_waiting = library.processing > 0 and not library.ready
    return draft.setup.policy.own_knowledge and draft.served.answers.has_own_knowledge and not is_waiting
