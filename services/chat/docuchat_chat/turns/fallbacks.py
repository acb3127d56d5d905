"""The second model: asked at once where the first is known to be down, else when that fails before its first token.

A turn's row stands for one call of a provider at a time. When the turn moves on, one transaction settles the first
call, if it may be billed, and declares the second, which is held at its own price: whoever recovers the turn finds one
of both open.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

import structlog

from docuchat_chat.answers.domain import Hold
from docuchat_chat.answers.errors import ModelNotAllowed
from docuchat_chat.answers.ports import AnswerModels, CounterFor, EmbeddingHolds, ServedModel
from docuchat_chat.answers.prompt import count_prompt
from docuchat_chat.answers.setup import Setup
from docuchat_chat.answers.terms import terms_of
from docuchat_chat.metrics import FALLBACKS
from docuchat_chat.turns.domain import Fallback, Turn, TurnState
from docuchat_chat.turns.live import LiveTurn
from docuchat_chat.turns.policy import Policy
from docuchat_chat.turns.ports import Holds, TurnsTx
from docuchat_chat.turns.settling import call_of
from docuchat_common.db.uow import Transactions
from docuchat_common.errors import DocuChatError, UpstreamUnavailable
from docuchat_common.ids import HoldId, TenantId
from docuchat_common.metering import Used, call_id_of
from docuchat_models.errors import ProviderFailed, ProviderInterrupted, ProviderRateLimited, ProviderTimeout

logger = structlog.get_logger()

DOWN: Final = "provider_down"
"""Why a model was not asked at all."""
_OUTAGES: Final = (ProviderRateLimited, ProviderFailed, ProviderTimeout, ProviderInterrupted)


def outage_of(error: BaseException) -> str | None:
    """Return under which code a provider is down; None when it answered, or something else went wrong.

    What a provider refuses for its operator's sake is no outage: a second model would hide it.
    """
    if isinstance(error, TimeoutError):
        return ProviderTimeout.code
    return error.code if isinstance(error, _OUTAGES) else None


class Standby:
    """Chooses who is asked first, and who stands by."""

    def __init__(self, models: AnswerModels) -> None:
        self._models = models

    async def choose(
        self, tenant_id: TenantId, setup: Setup
    ) -> tuple[ServedModel, ServedModel | None, Fallback | None]:
        """Return who is asked, who stands by, and what this one is asked instead of. Raises ModelNotAllowed."""
        first = await self._models.find(tenant_id, setup.model)
        second = await self._second(tenant_id, setup)
        if second is None or (second.provider, second.model) == (first.provider, first.model):
            return first, None, None
        if not first.is_down or second.is_down:
            return first, second, None
        FALLBACKS.labels(DOWN).inc()
        return second, None, Fallback(first.name, DOWN)

    async def _second(self, tenant_id: TenantId, setup: Setup) -> ServedModel | None:
        if setup.fallback_model is None:
            return None
        try:
            return await self._models.find(tenant_id, setup.fallback_model)
        except ModelNotAllowed:  # any more
            logger.warning("fallback.not_allowed", tenant_id=tenant_id, chatbot_id=str(setup.chatbot_id))
            return None


class Fallbacks:
    """Moves a running turn on to the model that stands by."""

    def __init__(
        self,
        *,
        transactions: Transactions[TurnsTx],
        holds: Holds,
        second_holds: EmbeddingHolds,
        counter_for: CounterFor,
        policy: Policy,
        owner: str,
    ) -> None:
        """`second_holds` count no message: the first hold has the turn's."""
        self._transactions = transactions
        self._holds = holds
        self._second_holds = second_holds
        self._counter_for = counter_for
        self._policy = policy
        self._owner = owner
        self._returning: set[asyncio.Task[None]] = set()

    async def move_on(self, live: LiveTurn, reason: str) -> bool:
        """Let the second model answer a turn of which nothing was shown; False when none can."""
        turn, second = live.turn, live.standby
        if second is None or turn.hold_id is None:
            return False
        live.standby = None
        used = Used(turn.prompt_tokens, estimated=True) if live.log.sent else None
        # What the first call cannot cost any more must not stand in the way of the second.
        await self._holds.renew(turn.hold_id, used.input_tokens if used is not None else 0)
        tokens = await self._count(live, second)
        most = self._policy.longest_answer(live.setup)
        opening = asyncio.create_task(
            self._second_holds.open(turn.caller, second, tokens, most, terms_of(turn.chatbot_id))
        )
        try:
            hold = await asyncio.shield(opening)
        except asyncio.CancelledError:
            self._return_later(opening)
            raise
        except DocuChatError as error:
            logger.warning("fallback.not_held", turn_id=str(turn.id), reason=error.code)
            return False
        moving = asyncio.create_task(self._move(live, second, hold.id, tokens, used, reason))
        try:
            is_moved = await asyncio.shield(moving)
        except asyncio.CancelledError:
            await asyncio.wait({moving})  # the turn is one call's or the other's, and must be known for which
            if moving.exception() is not None or not moving.result():
                self._return_later(opening)
            raise
        except UpstreamUnavailable as error:
            logger.warning("fallback.not_declared", turn_id=str(turn.id), reason=error.code)
            is_moved = False
        if not is_moved:
            await self._second_holds.release(hold.id)
            return False
        FALLBACKS.labels(reason).inc()
        logger.warning(
            "turn.fell_back", turn_id=str(turn.id), reason=reason, provider=turn.provider, to_provider=second.provider
        )
        return True

    async def has_moved_on(self, live: LiveTurn) -> bool:
        """Find out whether a turn moved on without its process having heard of it; then it knows from here on."""
        if live.turn.fallback is not None:
            return False
        async with self._transactions(live.turn.tenant_id) as tx:
            stored = await tx.turns.find(live.turn.tenant_id, live.turn.id, None)
        if stored is None or stored.state is not TurnState.RUNNING or stored.fallback is None:
            return False
        live.turn = replace(
            live.turn,
            model=stored.model,
            provider=stored.provider,
            provider_model=stored.provider_model,
            hold_id=stored.hold_id,
            prompt_tokens=stored.prompt_tokens,
            fallback=stored.fallback,
        )
        return True

    def _return_later(self, opening: asyncio.Task[Hold]) -> None:
        """Release a hold that a stopped turn does not need, while whoever stopped it is not kept waiting."""
        returning = asyncio.create_task(self._give_back(opening))
        self._returning.add(returning)
        returning.add_done_callback(self._returning.discard)

    async def _give_back(self, opening: asyncio.Task[Hold]) -> None:
        try:
            hold = await opening
        except DocuChatError:
            return
        await self._second_holds.release(hold.id)

    async def _count(self, live: LiveTurn, second: ServedModel) -> int:
        first, counter = self._counter_for(live.turn.provider_model), self._counter_for(second.model)
        if counter.name == first.name:
            return live.turn.prompt_tokens
        return await asyncio.to_thread(count_prompt, live.prompt.messages, counter)

    async def _move(
        self, live: LiveTurn, second: ServedModel, hold_id: HoldId, tokens: int, used: Used | None, reason: str
    ) -> bool:
        before = live.turn
        after = replace(
            before,
            model=second.name,
            provider=second.provider,
            provider_model=second.model,
            hold_id=hold_id,
            prompt_tokens=tokens,
            # A first call that is booked settles its hold, and counts the message with it.
            fallback=Fallback(before.model, reason, before.hold_id if used is None else None),
        )
        try:
            is_moved = await self._write(before, after, used)
        except UpstreamUnavailable:
            # the answer to the COMMIT may have been lost: repeating it changes nothing
            is_moved = await self._write(before, after, used)
        if is_moved:
            live.turn, live.served, live.log.sent = after, second, False
        return is_moved

    async def _write(self, before: Turn, after: Turn, used: Used | None) -> bool:
        """Settle the first call and declare the second; False when the turn is settled already."""
        async with self._transactions(before.tenant_id) as tx:
            if not await tx.turns.move_on(after):
                stored = await tx.turns.find(before.tenant_id, before.id, None)
                return stored is not None and stored.hold_id == after.hold_id
            if used is not None:
                call = replace(call_of(before), id=call_id_of(before.id, "first"), owner=self._owner)
                await tx.calls.declare(call)
                await tx.calls.settle(call.id, used)
        return True
