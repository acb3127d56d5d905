"""Asking: from a question to a running turn, without a token spent that is not held."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Final

from docuchat_chat.answers.ports import AnswerModels, CounterFor
from docuchat_chat.answers.service import Retrieval
from docuchat_chat.conversations.errors import ChatNotFound
from docuchat_chat.conversations.service import readable
from docuchat_chat.metrics import PREPARATION_SECONDS
from docuchat_chat.turns.answering import Answering, LiveAnswering, StoredTurn, readable_turn
from docuchat_chat.turns.attached import Attached
from docuchat_chat.turns.branches import Branches
from docuchat_chat.turns.checks import Checks
from docuchat_chat.turns.domain import Question, TurnState
from docuchat_chat.turns.drafts import Draft, take
from docuchat_chat.turns.errors import RequestInProgress, ShuttingDown, TooBusy
from docuchat_chat.turns.fallbacks import Standby
from docuchat_chat.turns.generation import Generator
from docuchat_chat.turns.histories import Histories
from docuchat_chat.turns.live import Registry
from docuchat_chat.turns.policy import Policy
from docuchat_chat.turns.ports import Chatbots, Holds, TurnsTx
from docuchat_chat.turns.preparation import Preparation
from docuchat_chat.turns.rewriting import Rewriter, Rewriting
from docuchat_chat.turns.setups import Setups, as_wished
from docuchat_chat.turns.sources import Sources
from docuchat_chat.turns.visitors import Visitors
from docuchat_chat.turns.writing import Writing
from docuchat_common.acts import excuse_act
from docuchat_common.clock import Clock
from docuchat_common.db.uow import Transactions
from docuchat_common.http.caller import Caller
from docuchat_common.http.slots import SharedSlots
from docuchat_common.idempotency import Idempotency, IdempotencyKeyRunning
from docuchat_common.ids import TenantId, TurnId, uuid7

_SHARE: Final = 3
"""So many times what is left free may be one tenant's: another always finds room."""


class AskService:
    """Takes questions."""

    def __init__(
        self,
        *,
        transactions: Transactions[TurnsTx],
        models: AnswerModels,
        holds: Holds,
        retrieval: Retrieval,
        generator: Generator,
        registry: Registry,
        counter_for: CounterFor,
        policy: Policy,
        chatbots: Chatbots,
        visitors: Visitors,
        owner: str,
        clock: Clock,
        rewriter: Rewriter | None = None,
    ) -> None:
        """`rewriter`: who says what follow-up questions mean; None leaves it to a rule."""
        self._transactions = transactions
        self._idempotency = Idempotency(transactions)
        self._registry = registry
        self._policy = policy
        self._checks = Checks(policy, Standby(models), counter_for)
        self._branches = Branches(transactions, models, policy)
        self._setups = Setups(chatbots, policy)
        self._visitors = visitors
        self._preparation = Preparation(
            holds=holds,
            histories=Histories(transactions, policy),
            rewriting=Rewriting(rewriter),
            sources=Sources(retrieval, policy),
            attached=Attached(transactions, retrieval, policy),
            writing=Writing(
                transactions=transactions,
                counter_for=counter_for,
                registry=registry,
                owner=owner,
                clock=clock,
            ),
            visitors=visitors,
            generator=generator,
            policy=policy,
        )
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
        address: str = "",
    ) -> Answering:
        """Begin to answer a question, or return the turn that the idempotency key already stands for.

        `address` is where a visitor comes from.
        `attach` allows to listen to such a turn while it runs; without it that is RequestInProgress.
        """
        began = asyncio.get_running_loop().time()
        fingerprint = question.fingerprint()
        self._require_room(caller.tenant_id)
        question = self._checks.clean(question)
        setup = as_wished(self._policy.setup(question.model), question)
        draft = Draft(caller, question, setup, turn_id or TurnId(uuid7()), self._slots.slot_of(caller), address)
        if question.branch is None and question.chatbot_id is None:
            await self._checks.measure(draft)
        await take(draft.slot, self._policy.preparation_patience)
        try:
            # Shielded: a client that hangs up now must leave neither a hold nor half a turn behind.
            asking = self._begin(draft) if key is None else self._begin_once(draft, key, fingerprint, attach=attach)
            return await asyncio.shield(asyncio.create_task(asking))
        finally:
            draft.slot.give_up()
            PREPARATION_SECONDS.observe(asyncio.get_running_loop().time() - began)

    def _require_room(self, tenant_id: TenantId) -> None:
        """Refuse what there is no room for; whose providers never end takes none that others need."""
        running = self._registry.turns
        free = self._policy.max_running_turns - len(running)
        is_full = free <= 0
        if not is_full and len(running) >= _SHARE * free:
            is_full = sum(live.turn.tenant_id == tenant_id for live in running.values()) >= _SHARE * free
        if self._registry.closing or is_full:
            raise (ShuttingDown if self._registry.closing else TooBusy)(retry_after=timedelta(seconds=2))

    async def _begin_once(self, draft: Draft, key: str, fingerprint: bytes, *, attach: bool) -> Answering:
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
                (message,) = await readable(tx, caller, [message], turn.chatbot_id)
        if turn is not None and turn.state is TurnState.RUNNING:
            raise RequestInProgress(turn_id=str(turn_id))
        if turn is None or message is None:
            raise ChatNotFound("The chat that this was answered in has been deleted.")
        return StoredTurn(replace(turn, has_key=True), message)

    async def _set_up(self, draft: Draft) -> None:
        """Find what must be known before anything is held: where a question branches off, and which chatbot answers."""
        branch, chatbot_id = draft.question.branch, draft.question.chatbot_id
        if branch is not None:
            await self._branches.look_up(draft, branch)
        if branch is not None and chatbot_id is None and draft.chat is not None:
            chatbot_id = draft.chat.chatbot_id
        if chatbot_id is not None:
            await self._visitors.admit(draft, chatbot_id)
            await self._setups.read(draft, chatbot_id)
        if branch is not None or chatbot_id is not None:
            await self._checks.measure(draft)

    async def _begin(self, draft: Draft) -> Answering:
        self._registry.open.add(draft.turn_id)
        try:
            await self._set_up(draft)
            return LiveAnswering(await self._preparation.begin(draft))
        except BaseException:
            self._registry.open.discard(draft.turn_id)
            raise
        finally:
            draft.slot.give_up()  # whoever asked may be gone
