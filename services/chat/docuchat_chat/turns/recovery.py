"""Recovery: turns of processes that died are settled once, from what they had published."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from docuchat_chat.answers.citations import check_citations
from docuchat_chat.answers.domain import Source
from docuchat_chat.answers.ports import CounterFor, Transactions
from docuchat_chat.metrics import RECOVERED
from docuchat_chat.turns.domain import Outcome, StaleTurn, Turn, TurnState
from docuchat_chat.turns.frames import terminal_frame
from docuchat_chat.turns.generation import settle
from docuchat_chat.turns.live import Registry
from docuchat_chat.turns.policy import Policy
from docuchat_chat.turns.ports import TurnBoard, TurnsTx
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.ids import ChunkId
from docuchat_models.chat import TokenUsage
from docuchat_models.errors import ProviderInterrupted

logger = structlog.get_logger()

BATCH = 50


class Recovery:
    """Shows this process' life, and settles what the dead left."""

    def __init__(
        self,
        *,
        transactions: Transactions[TurnsTx],
        board: TurnBoard,
        counter_for: CounterFor,
        registry: Registry,
        policy: Policy,
        owner: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._transactions = transactions
        self._board = board
        self._counter_for = counter_for
        self._registry = registry
        self._policy = policy
        self._owner = owner
        self._clock = clock

    async def run(self) -> None:
        """Beat and sweep until cancelled; trouble is waited out."""
        while True:
            try:
                await self.beat()
                await self.sweep()
            except UpstreamUnavailable as error:
                logger.warning("recovery.waiting", reason=error.code)
            except Exception:
                logger.exception("recovery.failed")
            await asyncio.sleep(self._policy.heartbeat.total_seconds())

    async def beat(self) -> None:
        """Show that this process lives and runs its turns."""
        await self._board.show_life(self._owner)
        running = [live.turn.id for live in self._registry.running()]
        if running:
            async with self._transactions.system() as tx:
                await tx.turns.heartbeat(running)

    async def sweep(self) -> int:
        """Settle stale turns of dead processes; returns how many this call settled."""
        async with self._transactions.system() as tx:
            stale = await tx.turns.stale(self._policy.stale_after, BATCH)
            await tx.turns.forget_keys(self._policy.key_life)
        settled = 0
        for turn in stale:
            # After an outage of the database every heartbeat is old; only who is gone from the board as well is dead.
            if turn.owner == self._owner and turn.turn_id in self._registry.turns:
                continue
            if turn.owner != self._owner and await self._board.is_alive(turn.owner):
                continue
            settled += await self._recover(turn)
        return settled

    async def _recover(self, stale: StaleTurn) -> bool:
        received = await self._board.received(stale.tenant_id, stale.turn_id)
        async with self._transactions(stale.tenant_id) as tx:
            turn = await tx.turns.find(stale.tenant_id, stale.turn_id, None)
            if turn is None or turn.state is not TurnState.RUNNING:
                return False
            passages = await tx.search.passages(stale.tenant_id, [source.passage.chunk_id for source in turn.sources])
        accepted = received.accepted or bool(received.pieces)
        outcome = self._outcome(turn, received.pieces, accepted, {p.chunk_id: p.text for p in passages})
        if not await settle(self._transactions, turn, outcome, self._owner, self._clock()):
            return False
        await self._board.close(
            turn.tenant_id, turn.id, len(received.pieces) + 1, terminal_frame(len(received.pieces) + 1, turn, outcome)
        )
        RECOVERED.inc()
        logger.info("turn.recovered", turn_id=str(turn.id), state=outcome.state.value, pieces=len(received.pieces))
        return True

    def _outcome(self, turn: Turn, pieces: list[str], accepted: bool, texts: dict[ChunkId, str]) -> Outcome:
        text = "".join(pieces)
        counter = self._counter_for(turn.model)
        usage = TokenUsage(turn.prompt_tokens, counter.count(text), estimated=True) if accepted else None
        sources = tuple(_with_text(source, texts.get(source.passage.chunk_id, "")) for source in turn.sources)
        citations, not_cited = check_citations(text, sources)
        return Outcome(
            state=TurnState.INTERRUPTED if accepted else TurnState.FAILED,
            text=text,
            frame_lengths=tuple(map(len, pieces)),
            finish_reason="error",
            usage=usage,
            citations=citations,
            not_cited=not_cited,
            error_code=ProviderInterrupted.code,
            error_message="The service was restarted in the middle of the answer; what came is kept.",
            text_tokens=usage.output_tokens if usage else None,
            tokenizer=counter.name,
        )


def _with_text(source: Source, text: str) -> Source:
    return Source(source.number, replace(source.passage, text=text))
