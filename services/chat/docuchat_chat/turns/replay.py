"""Turns resumed and stopped, wherever they run: followed on the board, rebuilt from the store once they ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from docuchat_chat.conversations.service import readable
from docuchat_chat.turns.answering import Answer, Followed, LiveAnswering, StoredTurn, readable_turn
from docuchat_chat.turns.domain import Turn, TurnState
from docuchat_chat.turns.errors import TurnNotFound
from docuchat_chat.turns.frames import delta_frame, opening_frame, refusal_frame
from docuchat_chat.turns.live import Registry
from docuchat_chat.turns.ports import CLOSED, SILENT, TurnBoard, TurnsTx
from docuchat_common.acts import excuse_act
from docuchat_common.audit import entry
from docuchat_common.db.uow import Transactions
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatId, TenantId, TurnId


class ReplayService:
    """Resumes and stops turns."""

    def __init__(self, transactions: Transactions[TurnsTx], board: TurnBoard, registry: Registry) -> None:
        self._transactions = transactions
        self._board = board
        self._registry = registry

    async def resume(self, caller: Caller, turn_id: TurnId, after: int) -> AsyncIterator[bytes]:
        """Return the frames after number `after`: no gap, no repeat, no second call of the model.

        `after` 0 means that nothing was received, so it begins with the opening.
        """
        after = after if after > 0 else -1
        live = self._registry.find(caller, turn_id)
        if live is not None and live.outcome is None:
            if after >= 0:
                return live.log.read(after)
            async with self._transactions.as_caller(caller) as tx:
                again = await readable_turn(tx, caller, live.turn)
            return LiveAnswering(live, again).events(after)
        found = await self.find(caller, turn_id)
        return found.events(after) if isinstance(found, StoredTurn) else self._follow(found, caller, after)

    async def answering(self, caller: Caller, turn_id: TurnId) -> Followed:
        """Return a turn to listen to it from its beginning, or to wait for its end. Raises TurnNotFound."""
        live = self._registry.find(caller, turn_id)
        if live is not None and live.outcome is None:
            async with self._transactions.as_caller(caller) as tx:
                return LiveAnswering(live, await readable_turn(tx, caller, live.turn))
        found = await self.find(caller, turn_id)
        return found if isinstance(found, StoredTurn) else _Elsewhere(self, caller, found)

    async def stop(self, caller: Caller, turn_id: TurnId) -> TurnState:
        """Stop a turn; what was sent is kept and booked. Returns the state that the turn had."""
        live = self._registry.find(caller, turn_id)
        if live is not None and live.outcome is not None:
            excuse_act()
            return live.outcome.state
        async with self._transactions.as_caller(caller) as tx:
            turn = await tx.turns.find(caller.tenant_id, turn_id, caller) if live is None else live.turn
            if turn is None:
                raise TurnNotFound
            if live is None and turn.state is not TurnState.RUNNING:
                excuse_act()
                return turn.state
            tx.outbox.add(entry(caller, "turn.stop", turn_id))
        if live is not None:
            live.stop()
        else:
            await self._board.ask_to_stop(turn_id)
        return TurnState.RUNNING

    def tell_change(self, caller: Caller, chat_id: ChatId) -> None:
        """Tell the caller's other pages that a chat is called or kept otherwise."""
        self._registry.titled(caller, chat_id)

    async def forget(self, tenant_id: TenantId, turn_ids: Sequence[TurnId]) -> None:
        """Stop the running turns of a deleted chat, and remove what is streamed of them."""
        for turn_id in turn_ids:
            self._registry.hide(turn_id)
            await self._board.ask_to_stop(turn_id)
        await self._board.forget(tenant_id, turn_ids)

    async def find(self, caller: Caller, turn_id: TurnId) -> StoredTurn | Turn:
        """Return a turn with its answer, or as it was begun while it runs. Raises TurnNotFound."""
        async with self._transactions.as_caller(caller) as tx:
            turn = await tx.turns.find(caller.tenant_id, turn_id, caller)
            if turn is None:
                raise TurnNotFound
            turn = await readable_turn(tx, caller, turn)
            if turn.state is TurnState.RUNNING:
                return turn
            message = await tx.chats.find_message(caller, turn.message_id)
            if message is None:
                raise TurnNotFound
            (message,) = await readable(tx, caller, [message], turn.chatbot_id)
        return StoredTurn(turn, message)

    async def _follow(self, turn: Turn, caller: Caller, after: int) -> AsyncIterator[bytes]:
        """Yield the frames of a turn of another process."""
        seen = max(after, 0)
        if after < 0:
            yield opening_frame(turn)
        try:
            async for piece in self.pieces(turn, caller, seen):
                if isinstance(piece, StoredTurn):
                    async for frames in piece.events(seen):
                        yield frames
                else:
                    seen += 1
                    yield delta_frame(turn.id, seen, piece)
        except TurnNotFound as gone:
            yield refusal_frame(turn.id, gone)  # its chat was deleted

    async def pieces(self, turn: Turn, caller: Caller, seen: int) -> AsyncIterator[str | StoredTurn]:
        """Follow a turn of another process: yield the texts behind delta `seen`, and at last the turn as it is stored.

        What the board lost is for the reader to take from there. Raises TurnNotFound.
        """
        async for seq, text in self._board.read(turn.tenant_id, turn.id, seen):
            if seq == seen + 1:
                seen = seq
                yield text
                continue
            # An end, a gap or a silence: is the turn settled by now?
            found = await self.find(caller, turn.id)
            if isinstance(found, StoredTurn):
                yield found
                return
            assert seq in {SILENT, CLOSED} or seq > seen  # a gap stays until the turn is settled


class _Elsewhere:
    """Listens to a turn of another process."""

    def __init__(self, replay: ReplayService, caller: Caller, turn: Turn) -> None:
        self._replay = replay
        self._caller = caller
        self._turn = turn
        self._stored: StoredTurn | None = None

    @property
    def turn(self) -> Turn:
        """The turn as it was begun."""
        return self._turn

    async def texts(self) -> AsyncIterator[Sequence[str]]:
        """Yield the texts of all deltas."""
        seen = 0
        async for piece in self._replay.pieces(self._turn, self._caller, 0):
            if isinstance(piece, StoredTurn):
                self._stored = piece
                async for texts in piece.texts():
                    yield texts[seen:]
            else:
                seen += 1
                yield [piece]

    async def result(self) -> Answer:
        """Wait for the end."""
        if self._stored is None:
            async for _ in self.texts():
                pass
        assert self._stored is not None  # the texts end with it
        return await self._stored.result()
