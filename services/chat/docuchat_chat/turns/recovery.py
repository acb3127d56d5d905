"""Recovery: turns that nobody answers any more are settled once, from what was noted and shown of them.

Those of processes that died, and those that this process itself left in the database, by a lost answer to a COMMIT for
example.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from docuchat_chat.answers.domain import Source
from docuchat_chat.answers.ports import CounterFor
from docuchat_chat.answers.text import unmarked
from docuchat_chat.metrics import RECOVERED
from docuchat_chat.turns.domain import OrphanedTurn, Outcome, Received, Settlement, Turn, TurnState
from docuchat_chat.turns.errors import AnswerInterrupted
from docuchat_chat.turns.live import Registry
from docuchat_chat.turns.ports import DeadSpools, Holds, Spool, TurnBoard, TurnsTx
from docuchat_chat.turns.settling import close_holds, conclude, settle_or_reduce
from docuchat_common.clock import Clock
from docuchat_common.db.uow import Transactions
from docuchat_common.errors import DocuChatError, UpstreamUnavailable
from docuchat_common.ids import ChunkId
from docuchat_common.metering import Used

logger = structlog.get_logger()

BATCH = 50


class Recovery:
    """Settles what was left."""

    def __init__(
        self,
        *,
        transactions: Transactions[TurnsTx],
        board: TurnBoard,
        spool: Spool,
        spools: DeadSpools,
        holds: Holds,
        counter_for: CounterFor,
        registry: Registry,
        owner: str,
        clock: Clock,
    ) -> None:
        self._transactions = transactions
        self._board = board
        self._spool = spool
        self._spools = spools
        self._holds = holds
        self._counter_for = counter_for
        self._registry = registry
        self._owner = owner
        self._clock = clock

    async def sweep(self) -> int:
        """Settle turns that were left; returns how many this call settled."""
        async with self._transactions.system() as tx:
            orphans = await tx.turns.orphans(self._owner, self._registry.open, BATCH)
        settled = 0
        for orphan in orphans:
            if not await self._is_left(orphan):
                continue
            try:
                settled += await self._recover(orphan)
            except DocuChatError:
                raise
            except Exception:  # one must not stand in the way of those behind it
                logger.exception("turn.not_recovered", turn_id=str(orphan.turn_id))
        if len(orphans) < BATCH:
            await self._clear_spools()
        return settled

    async def is_alive(self, owner: str) -> bool:
        """Tell whether a process lives, of which a provider call is open."""
        if owner == self._owner or await asyncio.to_thread(self._spools.is_alive, owner):
            return True
        async with self._transactions.system() as tx:
            return await tx.turns.is_alive(owner)

    async def _is_left(self, orphan: OrphanedTurn) -> bool:
        if orphan.owner == self._owner:
            return orphan.turn_id not in self._registry.open
        # A process whose session was cut takes its lock again in a moment; on this machine its spool tells.
        return not await asyncio.to_thread(self._spools.is_alive, orphan.owner)

    async def _recover(self, orphan: OrphanedTurn) -> bool:
        received = await self._received(orphan)
        async with self._transactions(orphan.tenant_id) as tx:
            turn = await tx.turns.find(orphan.tenant_id, orphan.turn_id, None)
            if turn is None or turn.state is not TurnState.RUNNING:
                return False
            passages = await tx.search.passages(orphan.tenant_id, [source.passage.chunk_id for source in turn.sources])
        if turn.fallback is not None:
            received = received.second or Received()
        outcome = self._outcome(turn, received, {passage.chunk_id: passage.text for passage in passages})
        settlement, outcome = await settle_or_reduce(self._transactions, turn, outcome, self._owner)
        if orphan.owner == self._owner:
            self._spool.settled(turn.id)
        if settlement is Settlement.DONE_BEFORE:
            return False
        await close_holds(self._holds, turn, outcome.usage)
        if settlement is Settlement.CHAT_GONE:
            await self._board.forget(turn.tenant_id, [turn.id])
        else:
            await self._board.close(turn.tenant_id, turn.id)
        self._registry.recovered(turn)
        RECOVERED.inc()
        pieces = len(received.pieces)
        logger.info("turn.recovered", turn_id=str(turn.id), state=outcome.state.value, pieces=pieces)
        return True

    async def _received(self, orphan: OrphanedTurn) -> Received:
        """Return what is known: from the spool, which has all; else from the board, and then the prompt was sent."""
        noted = await self._spools.read(orphan.owner, orphan.turn_id)
        if noted is not None:
            return noted
        try:
            shown = await self._board.received(orphan.tenant_id, orphan.turn_id)
        except UpstreamUnavailable:
            shown = Received()
        known = Received(shown.pieces, sent=True)
        known.second = known  # of whichever call it was
        return known

    def _outcome(self, turn: Turn, received: Received, texts: dict[ChunkId, str]) -> Outcome:
        counter = self._counter_for(turn.provider_model)
        sent = received.sent or bool(received.pieces)
        text = "".join(received.pieces)
        tokens = counter.count(text)
        unseen = counter.count("".join(received.thoughts)) + counter.count("".join(received.kept_back))
        written = 0 if received.kept_back else counter.count(unmarked(text))  # else what was said instead is ours
        return conclude(
            state=TurnState.INTERRUPTED if sent else TurnState.FAILED,
            finish_reason="error",
            text=text,
            frame_lengths=tuple(map(len, received.pieces)),
            sources=[_with_text(source, texts.get(source.passage.chunk_id, "")) for source in turn.sources],
            usage=Used(turn.prompt_tokens, written + unseen, estimated=True) if sent else None,
            text_tokens=tokens,
            tokenizer=counter.name,
            error=AnswerInterrupted(),
            now=self._clock.now(),
        )

    async def _clear_spools(self) -> None:
        """Delete the spools of the dead, none of whose turns is open any more."""
        for owner in await asyncio.to_thread(self._spools.owners):
            if owner == self._owner:
                continue
            async with self._transactions.system() as tx:
                open_turns = await tx.turns.count_open(owner)
            if not open_turns:
                await asyncio.to_thread(self._spools.delete, owner)


def _with_text(source: Source, text: str) -> Source:
    return Source(source.number, replace(source.passage, text=text))
