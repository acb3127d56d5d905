"""Turns that run in this process: their frames, their readers, and the way to stop them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from docuchat_chat.answers.domain import Prompt
from docuchat_chat.answers.ports import ServedModel
from docuchat_chat.answers.setup import Setup
from docuchat_chat.metrics import OPEN_TURNS
from docuchat_chat.turns.domain import Outcome, Question, Turn
from docuchat_chat.turns.frames import delta_frame, opening_frame
from docuchat_common.errors import DocuChatError
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatId, TurnId
from docuchat_common.user_events import UserEventWriter

FRAMES_AT_ONCE = 256


class LiveLog:
    """The frames of one turn. Readers pull at their own pace, so a slow one costs no memory of its own."""

    def __init__(self, turn: Turn) -> None:
        self.tenant_id = turn.tenant_id
        self.turn_id = turn.id
        self.frames = [opening_frame(turn)]
        self.texts: list[str] = []
        self.sent = False
        """Whether a request may have reached the provider that it did not refuse."""
        self.closed = False
        self.hidden = False
        """Not to be shown to other processes any more: its chat was deleted."""
        self._waiting: list[asyncio.Future[None]] = []

    def append(self, text: str) -> None:
        """Add a delta; O(1), and wakes the readers."""
        self.texts.append(text)
        self.frames.append(delta_frame(self.turn_id, len(self.texts), text))
        self._wake()

    def close(self, frame: bytes) -> None:
        """Add the terminal frame."""
        self.frames.append(frame)
        self.closed = True
        self._wake()

    async def read(self, after: int) -> AsyncIterator[bytes]:
        """Yield the frames after number `after` (-1: all) to the last one, which all get, many at once."""
        first = position = after + 1
        while True:
            if position < len(self.frames):
                batch = self.frames[position : position + FRAMES_AT_ONCE]
                position += len(batch)
                yield batch[0] if len(batch) == 1 else b"".join(batch)
            elif self.closed:
                if position == first:
                    yield self.frames[-1]
                return
            else:
                await self._news()

    async def read_texts(self) -> AsyncIterator[Sequence[str]]:
        """Yield the texts of the deltas as they come, many at once, for who writes frames of another shape."""
        position = 0
        while True:
            if position < len(self.texts):
                batch = self.texts[position : position + FRAMES_AT_ONCE]
                position += len(batch)
                yield batch
            elif self.closed:
                return
            else:
                await self._news()

    async def _news(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def _wake(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)


class LiveTurn:
    """A turn in the making; generation runs apart from whoever listens."""

    def __init__(
        self,
        turn: Turn,
        question: Question,
        prompt: Prompt,
        setup: Setup,
        served: ServedModel,
        standby: ServedModel | None = None,
    ) -> None:
        """`standby` answers when `served` fails before its first token."""
        self.turn = turn
        self.question = question
        self.prompt = prompt
        self.setup = setup
        self.served = served
        self.standby = standby
        self.has_begun = False
        """Whether anything came of the answer, shown or not."""
        self.log = LiveLog(turn)
        self.thoughts: list[str] = []
        """What the model wrote before its answer: not shown, and billed."""
        self.kept_back: list[str] = []
        """What it wrote of an answer that is not shown for want of citations: billed too."""
        self.is_embedded = False
        """Whether the question's embedding was made, and paid where it costs anything."""
        self.outcome: Outcome | None = None
        self.failure: DocuChatError | None = None
        self.stop_requested = False
        self.interrupted = False
        self.generation: asyncio.Task[object] | None = None
        self.finished = asyncio.Event()

    def stop(self) -> None:
        """End the answer here, as the user asked."""
        if not self.interrupted:
            self.stop_requested = True
        self._cancel()

    def interrupt(self) -> None:
        """End the answer here, because the process must go."""
        if not self.stop_requested:
            self.interrupted = True
        self._cancel()

    def _cancel(self) -> None:
        if self.generation is not None and not self.generation.done():
            self.generation.cancel()


@dataclass(slots=True)
class Registry:
    """The live turns of this process. One that is settled is none: who resumes it is answered from the store."""

    turns: dict[TurnId, LiveTurn] = field(default_factory=dict)
    open: set[TurnId] = field(default_factory=set)
    """Turns that this process prepares, answers or settles: all others that the database has as its own are left."""
    closing: bool = False
    user_events: UserEventWriter | None = None
    """Tells who asked; nobody without."""
    _told: dict[TurnId, Turn] = field(default_factory=dict)

    def written(self, turn: Turn) -> None:
        """Tell who asked that a turn was begun; its `end` is told, too."""
        if self.user_events is not None:
            self._told[turn.id] = turn
            self.user_events.add(turn.caller.holder, "turn", turn.id, turn.caller.subject)

    def ended(self, turn: Turn) -> None:
        """Tell who asked that a turn is over."""
        if self.user_events is not None:
            self.user_events.add(turn.caller.holder, "turn_ended", turn.id, turn.caller.subject)

    def recovered(self, turn: Turn) -> None:
        """Tell who asked of a turn that was left: that it was begun, too, which its process may not have told."""
        self._told.pop(turn.id, None)
        if self.user_events is not None:
            self.user_events.add(turn.caller.holder, "turn", turn.id, turn.caller.subject)
        self.ended(turn)

    def titled(self, caller: Caller, chat_id: ChatId) -> None:
        """Tell a caller that a chat of theirs has another title."""
        if self.user_events is not None:
            self.user_events.add(caller.holder, "chat", chat_id, caller.subject)

    def begin(self, live: LiveTurn) -> None:
        """Count a turn as running here, until its `end`."""
        self.turns[live.turn.id] = live
        OPEN_TURNS.set(len(self.turns))

    def end(self, turn_id: TurnId) -> None:
        """Forget a turn; whoever reads it keeps its frames."""
        self.turns.pop(turn_id, None)
        self.open.discard(turn_id)
        if (turn := self._told.pop(turn_id, None)) is not None:
            self.ended(turn)
        OPEN_TURNS.set(len(self.turns))

    def find(self, caller: Caller, turn_id: TurnId) -> LiveTurn | None:
        """Return the caller's own live turn, of a chat that is not deleted."""
        live = self.turns.get(turn_id)
        return live if live is not None and live.turn.caller.subject == caller.subject and not live.log.hidden else None

    def stop(self, turn_id: TurnId) -> None:
        """Stop a turn if it runs here."""
        live = self.turns.get(turn_id)
        if live is not None:
            live.stop()

    def hide(self, turn_id: TurnId) -> None:
        """Stop a turn of a deleted chat if it runs here, and show no more of it to other processes."""
        live = self.turns.get(turn_id)
        if live is not None:
            live.log.hidden = True
            live.stop()
