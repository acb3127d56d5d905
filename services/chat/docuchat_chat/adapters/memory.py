"""In-memory twins of the ports, for tests; the contract tests hold them to what the real ones do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from docuchat_chat.domain.model import Asker, Hold, Received
from docuchat_chat.frames import OPENING, delta_text
from docuchat_chat.ports import PublishedLog
from docuchat_common.ids import HoldId, TenantId, TurnId, uuid7


class InMemoryBoard:
    """A board of one process."""

    def __init__(self) -> None:
        self.frames: dict[TurnId, dict[int, bytes]] = {}
        self.closed: dict[TurnId, int] = {}
        self.accepted: set[TurnId] = set()
        self.alive: set[str] = set()
        self._stoppers: list[Callable[[TurnId], None]] = []

    def publish(self, log: PublishedLog) -> None:
        """Take the new frames at once."""
        frames = self.frames.setdefault(log.turn_id, {})
        for number in range(len(frames), len(log.frames)):
            frames[number] = log.frames[number]
        if log.accepted:
            self.accepted.add(log.turn_id)
        if log.closed:
            self.closed[log.turn_id] = len(log.frames) - 1

    async def copy(self) -> None:
        """Nothing waits here."""

    async def read(self, tenant_id: TenantId, turn_id: TurnId, after: int) -> AsyncIterator[tuple[int, bytes, bool]]:
        """Follow a turn."""
        seen = after
        while True:
            frames = self.frames.get(turn_id, {})
            if seen + 1 in frames:
                seen += 1
                yield seen, frames[seen], self.closed.get(turn_id) == seen
            else:
                yield -1, b"", False
                await asyncio.sleep(0)

    async def received(self, tenant_id: TenantId, turn_id: TurnId) -> Received:
        """Return what was published of a turn."""
        frames = self.frames.get(turn_id, {})
        pieces = [
            delta_text(frame)
            for number, frame in sorted(frames.items())
            if number != OPENING and frame.startswith(b"event: delta")
        ]
        return Received(pieces, turn_id in self.accepted, turn_id in self.closed)

    async def close(self, tenant_id: TenantId, turn_id: TurnId, seq: int, frame: bytes) -> None:
        """Write a turn's last frame."""
        if seq not in self.frames.setdefault(turn_id, {}):
            self.frames[turn_id][seq] = frame
            self.closed[turn_id] = seq

    async def forget(self, tenant_id: TenantId, turn_ids: Sequence[TurnId]) -> None:
        """Remove turns."""
        for turn_id in turn_ids:
            self.frames.pop(turn_id, None)

    async def ask_to_stop(self, turn_id: TurnId) -> None:
        """Call the stoppers."""
        for stop in self._stoppers:
            stop(turn_id)

    def on_stop(self, stop: Callable[[TurnId], None]) -> None:
        """Register who is told to stop turns."""
        self._stoppers.append(stop)

    async def show_life(self, owner: str) -> None:
        """Note a living process."""
        self.alive.add(owner)

    async def is_alive(self, owner: str) -> bool:
        """Tell whether a process lives."""
        return owner in self.alive


@dataclass
class InMemoryHolds:
    """Holds against one limit; `refusal` is raised when it is used up."""

    limit: int = 10**9
    refusal: Exception | None = None
    open_holds: dict[HoldId, int] = field(default_factory=dict)
    opened: list[int] = field(default_factory=list)
    released: list[HoldId] = field(default_factory=list)

    async def open(self, asker: Asker, model: str, input_tokens: int, max_output_tokens: int) -> Hold:
        """Keep tokens back."""
        tokens = input_tokens + max_output_tokens
        if self.refusal is not None or sum(self.open_holds.values()) + tokens > self.limit:
            assert self.refusal is not None
            raise self.refusal
        hold = Hold(HoldId(uuid7()), input_tokens)
        self.open_holds[hold.id] = tokens
        self.opened.append(tokens)
        return hold

    async def renew(self, hold_id: HoldId, tokens: int | None = None) -> None:
        """Shrink a hold."""
        if tokens is not None and hold_id in self.open_holds:
            self.open_holds[hold_id] = min(self.open_holds[hold_id], tokens)

    async def release(self, hold_id: HoldId) -> None:
        """Give a hold back."""
        self.open_holds.pop(hold_id, None)
        self.released.append(hold_id)
