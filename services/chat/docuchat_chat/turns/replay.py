"""Finished turns, rebuilt frame by frame from what was stored; turns of other processes, followed on the board."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from docuchat_chat.answers.domain import Asker
from docuchat_chat.answers.ports import Transactions
from docuchat_chat.conversations.domain import Message
from docuchat_chat.turns.answering import Answer, with_turn
from docuchat_chat.turns.domain import Outcome, Turn, TurnState
from docuchat_chat.turns.errors import TurnNotFound
from docuchat_chat.turns.frames import delta_frames, opening_frame, terminal_frame
from docuchat_chat.turns.live import FRAMES_AT_ONCE, Registry
from docuchat_chat.turns.ports import TurnBoard, TurnsTx
from docuchat_common.ids import TenantId, TurnId
from docuchat_models.errors import ProviderInterrupted


class StoredTurn:
    """A finished turn and its stored answer."""

    def __init__(self, turn: Turn, message: Message) -> None:
        self._turn = turn
        self._message = message

    @property
    def turn(self) -> Turn:
        """The turn."""
        return self._turn

    def frames(self) -> list[bytes]:
        """Return all frames, exactly as they were sent."""
        deltas = delta_frames(self._message.content, self._turn.frame_lengths)
        return [
            opening_frame(self._turn),
            *deltas,
            terminal_frame(len(deltas) + 1, self._turn, stored_outcome(self._turn, self._message)),
        ]

    async def events(self, after: int) -> AsyncIterator[bytes]:
        """Yield the frames after number `after`."""
        frames = self.frames()[after + 1 :]
        for start in range(0, len(frames), FRAMES_AT_ONCE):
            yield b"".join(frames[start : start + FRAMES_AT_ONCE])

    async def result(self) -> Answer:
        """Return the answer, or raise what the provider had ended it with."""
        if self._turn.state in (TurnState.INTERRUPTED, TurnState.FAILED):
            raise with_turn(ProviderInterrupted(self._turn.error_message), self._turn)
        return Answer(self._turn, self._message)


def stored_outcome(turn: Turn, message: Message) -> Outcome:
    """Return how a stored turn ended."""
    not_cited = message.metadata.get("not_cited", [])
    return Outcome(
        state=turn.state,
        text=message.content,
        frame_lengths=turn.frame_lengths,
        finish_reason=turn.finish_reason or "stop",
        usage=turn.usage,
        citations=message.citations,
        not_cited=tuple(not_cited),
        error_code=turn.error_code,
        error_message=turn.error_message,
    )


class ReplayService:
    """Resumes and stops turns, wherever they run."""

    def __init__(self, transactions: Transactions[TurnsTx], board: TurnBoard, registry: Registry) -> None:
        self._transactions = transactions
        self._board = board
        self._registry = registry

    async def resume(self, asker: Asker, turn_id: TurnId, after: int) -> AsyncIterator[bytes]:
        """Return the frames after number `after`: no gap, no repeat, no second call of the model.

        `after` 0 means that nothing was received, so it begins with the opening.
        """
        after = after if after > 0 else -1
        live = self._registry.find(asker, turn_id)
        if live is not None:
            return live.log.read(after)
        stored = await self._find(asker, turn_id)
        if isinstance(stored, StoredTurn):
            return stored.events(after)
        return self._follow(asker, turn_id, after)

    async def stop(self, asker: Asker, turn_id: TurnId) -> TurnState:
        """Stop a turn; what was sent is kept and booked. Returns the state that the turn had."""
        live = self._registry.find(asker, turn_id)
        if live is not None:
            if live.outcome is not None:
                return live.outcome.state
            live.stop()
            return TurnState.RUNNING
        async with self._transactions(asker.tenant_id) as tx:
            turn = await tx.turns.find(asker.tenant_id, turn_id, asker.user_id)
        if turn is None:
            raise TurnNotFound
        if turn.state is TurnState.RUNNING:
            await self._board.ask_to_stop(turn_id)
        return turn.state

    async def forget(self, tenant_id: TenantId, turn_ids: Sequence[TurnId]) -> None:
        """Stop these turns wherever they run, and remove what is streamed of them."""
        for turn_id in turn_ids:
            self._registry.stop(turn_id)
            await self._board.ask_to_stop(turn_id)
        await self._board.forget(tenant_id, turn_ids)

    async def _find(self, asker: Asker, turn_id: TurnId) -> StoredTurn | Turn:
        async with self._transactions(asker.tenant_id) as tx:
            turn = await tx.turns.find(asker.tenant_id, turn_id, asker.user_id)
            if turn is None:
                raise TurnNotFound
            if turn.state is TurnState.RUNNING:
                return turn
            message = await tx.chats.find_message(asker, turn.message_id)
        if message is None:
            raise TurnNotFound
        return StoredTurn(turn, message)

    async def _follow(self, asker: Asker, turn_id: TurnId, after: int) -> AsyncIterator[bytes]:
        """Follow a turn of another process; what the board lost is taken from the store once the turn is settled."""
        seen = after
        async for seq, frame, last in self._board.read(asker.tenant_id, turn_id, after):
            if seq == seen + 1:
                seen = seq
                yield frame
                if last:
                    return
                continue
            # A gap or a silence: is the turn settled by now?
            try:
                stored = await self._find(asker, turn_id)
            except TurnNotFound:
                return
            if isinstance(stored, StoredTurn):
                async for frames in stored.events(seen):
                    yield frames
                return


SILENCE = timedelta(seconds=2)
"""After this long without a frame a follower looks whether the turn was settled."""
