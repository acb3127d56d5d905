"""Turns that run in this process: their frames, their readers, and the way to stop them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from docuchat_chat.answers.domain import Asker, Prompt
from docuchat_chat.turns.domain import Outcome, Question, Turn
from docuchat_chat.turns.frames import delta_frame
from docuchat_common.ids import TenantId, TurnId

FRAMES_AT_ONCE = 256


class TurnLog:
    """The frames of one turn. Readers pull at their own pace, so a slow one costs no memory of its own."""

    def __init__(self, tenant_id: TenantId, turn_id: TurnId, opening: bytes) -> None:
        self.tenant_id = tenant_id
        self.turn_id = turn_id
        self.frames = [opening]
        self.texts: list[str] = []
        self.length = 0
        self.accepted = False
        self.closed = False
        self._waiting: list[asyncio.Future[None]] = []

    def append(self, text: str) -> None:
        """Add a delta; O(1), and wakes the readers."""
        self.texts.append(text)
        self.length += len(text)
        self.frames.append(delta_frame(len(self.texts), text))
        self._wake()

    def close(self, frame: bytes) -> None:
        """Add the terminal frame."""
        self.frames.append(frame)
        self.closed = True
        self._wake()

    async def read(self, after: int) -> AsyncIterator[bytes]:
        """Yield the frames after number `after` (-1: all) until the last one, as many at once as there are."""
        position = after + 1
        while True:
            if position < len(self.frames):
                batch = self.frames[position : position + FRAMES_AT_ONCE]
                position += len(batch)
                yield batch[0] if len(batch) == 1 else b"".join(batch)
            elif self.closed:
                return
            else:
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

    def __init__(self, asker: Asker, question: Question, turn: Turn, prompt: Prompt, log: TurnLog) -> None:
        self.asker = asker
        self.question = question
        self.turn = turn
        self.prompt = prompt
        self.log = log
        self.outcome: Outcome | None = None
        self.failure: Exception | None = None
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
    """The live turns of this process."""

    turns: dict[TurnId, LiveTurn]
    closing: bool = False

    def running(self) -> list[LiveTurn]:
        """Return the turns that are not settled."""
        return [live for live in self.turns.values() if not live.finished.is_set()]

    def find(self, asker: Asker, turn_id: TurnId) -> LiveTurn | None:
        """Return the asker's own live turn."""
        live = self.turns.get(turn_id)
        return live if live is not None and live.asker == asker else None

    def stop(self, turn_id: TurnId) -> None:
        """Stop a turn if it runs here."""
        live = self.turns.get(turn_id)
        if live is not None:
            live.stop()
