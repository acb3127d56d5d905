"""Asking: from a question to a running turn, without a token spent that is not held."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

import structlog

from docuchat_chat.answers.domain import Findings, Hold, Library, PastMessage, Prompt
from docuchat_chat.answers.errors import MessageEmpty
from docuchat_chat.answers.notices import notice
from docuchat_chat.answers.ports import CounterFor
from docuchat_chat.answers.prompt import TOKENS_PER_MESSAGE, build_prompt, fixed_tokens, seamless
from docuchat_chat.answers.service import Books, Retrieval
from docuchat_chat.conversations.domain import Chat, title_of
from docuchat_chat.conversations.errors import ChatFull, ChatNotFound, MessageTooLong
from docuchat_chat.conversations.service import readable
from docuchat_chat.metrics import PREPARATION_SECONDS
from docuchat_chat.turns.answering import Answering, LiveAnswering, StoredTurn, readable_turn
from docuchat_chat.turns.domain import Outcome, Question, Turn, TurnState
from docuchat_chat.turns.errors import (
    ModelNotAllowed,
    RequestInProgress,
    ShuttingDown,
    TooBusy,
)
from docuchat_chat.turns.frames import terminal_frame
from docuchat_chat.turns.generation import Generator
from docuchat_chat.turns.live import LiveTurn, Registry
from docuchat_chat.turns.policy import Policy
from docuchat_chat.turns.ports import Holds, TurnsTx
from docuchat_chat.turns.settling import settle
from docuchat_common.acts import excuse_act
from docuchat_common.clock import Clock
from docuchat_common.db.uow import Transactions
from docuchat_common.http.caller import Caller
from docuchat_common.http.slots import SharedSlots, Slot
from docuchat_common.idempotency import Claim, Idempotency, IdempotencyKeyRunning
from docuchat_common.ids import ChatId, MessageId, TurnId, uuid7

logger = structlog.get_logger()


@dataclass(slots=True)
class _Draft:
    """A question on its way to a turn, and what each step found for it."""

    caller: Caller
    question: Question
    turn_id: TurnId
    budget: int
    """The most input tokens that it may cost: held for it, and the prompt is kept to it."""
    slot: Slot
    claim: Claim | None = None
    """The idempotency key of the request."""
    chat: Chat | None = None
    history: tuple[PastMessage, ...] = ()
    findings: Findings = field(default_factory=lambda: Findings(()))

    @property
    def books(self) -> Books:
        """Under which names its embedding is booked."""
        return Books(self.caller, turn_id=self.turn_id)


class AskService:
    """Takes questions."""

    def __init__(
        self,
        *,
        transactions: Transactions[TurnsTx],
        holds: Holds,
        retrieval: Retrieval,
        generator: Generator,
        registry: Registry,
        counter_for: CounterFor,
        policy: Policy,
        owner: str,
        clock: Clock,
    ) -> None:
        self._transactions = transactions
        self._idempotency = Idempotency(transactions)
        self._holds = holds
        self._retrieval = retrieval
        self._generator = generator
        self._registry = registry
        self._counter_for = counter_for
        self._policy = policy
        self._owner = owner
        self._clock = clock
        self._slots = SharedSlots(policy.max_preparing)

    @property
    def head_patience(self) -> timedelta:
        """How long a stream's head waits for what may refuse the question."""
        return self._policy.head_patience

    async def ask(
        self,
        caller: Caller,
        question: Question,
        *,
        key: str | None = None,
        attach: bool = False,
        turn_id: TurnId | None = None,
    ) -> Answering:
        """Begin to answer a question, or return the turn that the idempotency key already stands for.

        `attach` allows to listen to such a turn while it runs; without it that is RequestInProgress.
        """
        began = asyncio.get_running_loop().time()
        fingerprint = question.fingerprint()
        question = self._check(question)
        turn_id = turn_id or TurnId(uuid7())
        slot = self._slots.slot_of(caller)
        await self._take(slot)
        try:
            draft = _Draft(caller, question, turn_id, self._budget(question), slot)
            # Shielded: a client that hangs up now must leave neither a hold nor half a turn behind.
            asking = self._begin(draft) if key is None else self._begin_once(draft, key, fingerprint, attach=attach)
            return await asyncio.shield(asyncio.create_task(asking))
        finally:
            slot.give_up()
            PREPARATION_SECONDS.observe(asyncio.get_running_loop().time() - began)

    async def _take(self, slot: Slot) -> None:
        try:
            async with asyncio.timeout(self._policy.preparation_patience.total_seconds()):
                await slot.take()
        except TimeoutError as error:
            raise TooBusy(retry_after=timedelta(seconds=2)) from error

    def _check(self, question: Question) -> Question:
        policy = self._policy
        if self._registry.closing or len(self._registry.turns) >= policy.max_running_turns:
            raise (ShuttingDown if self._registry.closing else TooBusy)(retry_after=timedelta(seconds=2))
        if len(question.text) > policy.max_message_chars:
            raise MessageTooLong(
                f"The message has {len(question.text)} characters; {policy.max_message_chars} are allowed.",
                limit=policy.max_message_chars,
            )
        text = question.text.replace("\x00", "").strip()
        if not text:
            raise MessageEmpty
        model = question.model or policy.default_model
        if model not in policy.allowed_models:
            raise ModelNotAllowed(
                f"This model is not allowed; allowed are {', '.join(policy.allowed_models)}.",
                allowed_models=list(policy.allowed_models),
            )
        counter = self._counter_for(model)
        tokens, asked = counter.count(text), seamless(text)
        if fixed_tokens(asked, counter) > policy.max_context_tokens:
            raise MessageTooLong(
                f"The message has {tokens} tokens and leaves no room for sources within {policy.max_context_tokens}.",
                limit=policy.max_context_tokens,
            )
        session_id = question.session_id.replace("\x00", "") if question.session_id else None
        return replace(question, text=text, model=model, tokens=tokens, asked=asked, session_id=session_id)

    def _budget(self, question: Question) -> int:
        policy = self._policy
        history = policy.max_history_tokens if question.chat_id is not None or question.session_id is not None else 0
        fixed = fixed_tokens(question.asked, self._counter_for(question.model))
        return min(
            policy.max_context_tokens, fixed + policy.top_k * policy.source_tokens + history + TOKENS_PER_MESSAGE
        )

    async def _begin_once(self, draft: _Draft, key: str, fingerprint: bytes, *, attach: bool) -> Answering:
        """Begin to answer, or return the turn that the request began which had this key before."""
        try:
            async with self._idempotency.claim(draft.caller, key, fingerprint) as claim:
                if claim.reference is None:
                    draft.claim = claim
                    return await self._begin(draft)
        except IdempotencyKeyRunning as error:
            running = RequestInProgress()
            running.retry_after = error.retry_after
            raise running from error
        return await self._find_earlier(draft.caller, TurnId(claim.reference), attach=attach)

    async def _find_earlier(self, caller: Caller, turn_id: TurnId, *, attach: bool) -> Answering:
        excuse_act()
        live = self._registry.find(caller, turn_id)
        if live is not None and live.outcome is None:
            if not live.finished.is_set() and not attach:
                raise RequestInProgress(turn_id=str(turn_id))
            if not attach:
                return LiveAnswering(live)
            async with self._transactions.as_caller(caller) as tx:
                return LiveAnswering(live, await readable_turn(tx, caller, live.turn))
        async with self._transactions.as_caller(caller) as tx:
            turn = await tx.turns.find(caller.tenant_id, turn_id, caller)
            message = await tx.chats.find_message(caller, turn.message_id) if turn is not None else None
            if turn is not None and message is not None:
                turn = await readable_turn(tx, caller, turn)
                (message,) = await readable(tx, caller, [message])
        if turn is not None and turn.state is TurnState.RUNNING:
            raise RequestInProgress(turn_id=str(turn_id))
        if turn is None or message is None:
            raise ChatNotFound("The chat that this was answered in has been deleted.")
        return StoredTurn(replace(turn, has_key=True), message)

    async def _begin(self, draft: _Draft) -> Answering:
        self._registry.open.add(draft.turn_id)
        try:
            return LiveAnswering(await self._hold_and_begin(draft))
        except BaseException:
            self._registry.open.discard(draft.turn_id)
            raise
        finally:
            draft.slot.give_up()  # whoever asked may be gone

    async def _hold_and_begin(self, draft: _Draft) -> LiveTurn:
        question = draft.question
        # The question's embedding is held with its answer.
        tokens = draft.budget + self._retrieval.count(question.text)
        opening = asyncio.create_task(
            self._holds.open(draft.caller, question.model, tokens, self._policy.max_output_tokens)
        )
        steps = [self._look_up_chat(draft)]
        if self._retrieval.is_free:
            steps.append(self._look_up_sources(draft))  # what costs nobody anything need not wait for the budget
        results = await asyncio.gather(opening, *steps, return_exceptions=True)
        hold, failure = results[0], next((r for r in results if isinstance(r, BaseException)), None)
        if failure is not None:
            if isinstance(hold, Hold):
                await self._holds.release(hold.id)
            raise failure
        assert isinstance(hold, Hold)  # anything else was a failure
        try:
            if not self._retrieval.is_free:
                # Only now: a question without budget, or for a chat that is not there, costs no call of the provider.
                await self._look_up_sources(draft)
            live, library = await self._write_down(draft, hold)
        except BaseException:
            await self._holds.release(hold.id)
            raise
        if library is None:
            self._generator.start(live)
        else:
            await asyncio.gather(self._holds.release(hold.id), self._say_nothing_found(live, library))
        return live

    async def _look_up_chat(self, draft: _Draft) -> None:
        question = draft.question
        if question.chat_id is None and question.session_id is None:
            return
        async with self._transactions.as_caller(draft.caller) as tx:
            draft.chat = await tx.chats.find(
                draft.caller,
                chat_id=question.chat_id or _as_chat_id(question.session_id),
                session_key=question.session_id if question.chat_id is None else None,
            )
            if draft.chat is None:
                if question.chat_id is not None:
                    raise ChatNotFound
                return
            if draft.chat.is_full:
                raise ChatFull
            limit = self._policy.max_history_messages
            draft.history = tuple(await tx.chats.history(draft.caller, draft.chat.id, limit))

    async def _look_up_sources(self, draft: _Draft) -> None:
        question = draft.question
        if not self._retrieval.is_free:
            draft.slot.give_up()  # a provider that is slow keeps nobody else from asking
        vector = await self._retrieval.embed_or_not(question.text, draft.books)
        await self._take(draft.slot)
        draft.findings = await self._retrieval.find(
            question.text, vector, draft.caller, self._policy.top_k, question.document_ids, question.collection_id
        )

    async def _write_down(self, draft: _Draft, hold: Hold) -> tuple[LiveTurn, Library | None]:
        """Build the prompt and write the turn. A library comes back when nothing was found."""
        question, counter = draft.question, self._counter_for(draft.question.model)
        budget = min(draft.budget, hold.tokens)
        prompt = build_prompt(question.asked, draft.findings.passages, draft.history, budget, counter)
        async with self._transactions.as_caller(draft.caller) as tx:
            library = None
            if not prompt.sources:
                library = await tx.search.library(draft.caller.tenant_id, question.document_ids, question.collection_id)
                prompt = Prompt((), (), 0)
            opened = await tx.chats.open(
                draft.caller,
                draft.chat.id if draft.chat is not None else ChatId(uuid7()),
                question.session_id if draft.chat is None else None,
                title_of(question.text),
            )
            turn = Turn(
                id=draft.turn_id,
                caller=draft.caller,
                chat_id=opened.id,
                session_id=opened.session_id,
                user_message_id=MessageId(uuid7()),
                message_id=MessageId(uuid7()),
                model=question.model,
                provider=self._generator.provider,
                hold_id=hold.id if library is None else None,
                prompt_tokens=prompt.tokens,
                owner=self._owner,
                created_at=self._clock.now(),
                sources=prompt.sources,
                notice=draft.findings.notice,
                has_key=draft.claim is not None,
            )
            await tx.turns.begin(turn, opened, question, counter.name)
            if draft.claim is not None:
                await tx.requests.begin(draft.claim, turn.id)
        return LiveTurn(turn, question, prompt), library

    async def _say_nothing_found(self, live: LiveTurn, library: Library) -> None:
        text = notice(live.question.text, library)
        outcome = Outcome(
            state=TurnState.COMPLETED,
            text=text,
            frame_lengths=(len(text),),
            finish_reason="no_sources",
            usage=None,
            finished_at=self._clock.now(),
        )
        await settle(self._transactions, live.turn, outcome, self._owner)
        live.outcome = outcome
        live.log.append(text)
        live.log.close(terminal_frame(2, live.turn, outcome))
        live.finished.set()
        self._registry.end(live.turn.id)
        logger.info("turn.no_sources", turn_id=str(live.turn.id), ready=library.ready, processing=library.processing)


def _as_chat_id(session_id: str | None) -> ChatId | None:
    try:
        return ChatId(UUID(session_id)) if session_id is not None else None
    except ValueError:
        return None
