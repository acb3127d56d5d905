"""What turns need from the world."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from docuchat_chat.answers.domain import Asker, Source
from docuchat_chat.answers.ports import AnswersTx
from docuchat_chat.conversations.ports import ConversationsTx, OpenedChat
from docuchat_chat.turns.domain import Hold, NewTurn, Outcome, Received, StaleTurn, Turn
from docuchat_common.ids import HoldId, TenantId, TurnId, UserId


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """The turn that an idempotency key stands for."""

    request_hash: str
    turn_id: TurnId
    age: timedelta


class TurnStore(Protocol):
    """Turns and idempotency keys."""

    async def begin(
        self,
        asker: Asker,
        turn: NewTurn,
        chat: OpenedChat,
        question: str,
        question_tokens: int,
        tokenizer: str,
        sources: Sequence[Source],
    ) -> None:
        """Write the question and its turn down."""
        ...

    async def find(self, tenant_id: TenantId, turn_id: TurnId, user_id: UserId | None) -> Turn | None:
        """Return a turn; with `user_id` only this user's, of a chat that is not deleted."""
        ...

    async def finish(self, tenant_id: TenantId, turn_id: TurnId, outcome: Outcome, owner: str, now: datetime) -> bool:
        """Settle a turn that still runs and store its answer; False when it was settled before."""
        ...

    async def claim_key(self, asker: Asker, key: str, request_hash: str, turn_id: TurnId) -> KeyHolder | None:
        """Claim an idempotency key; returns the holder when it is taken."""
        ...

    async def release_key(self, asker: Asker, turn_id: TurnId) -> None:
        """Give a turn's key back."""
        ...

    async def heartbeat(self, turn_ids: Sequence[TurnId]) -> None:
        """Show life for the turns that this process runs (system role)."""
        ...

    async def stale(self, older_than: timedelta, limit: int) -> list[StaleTurn]:
        """Return running turns without a sign of life (system role)."""
        ...

    async def forget_keys(self, older_than: timedelta) -> None:
        """Drop idempotency keys past their life (system role)."""
        ...


class Holds(Protocol):
    """The usage service's holds on quotas."""

    async def open(self, asker: Asker, model: str, input_tokens: int, max_output_tokens: int) -> Hold:
        """Keep tokens back. Raises QuotaExceeded with the reset time, UpstreamUnavailable."""
        ...

    async def renew(self, hold_id: HoldId, tokens: int | None = None) -> None:
        """Renew the lease, and shrink the hold when `tokens` is given; trouble is logged, not raised."""
        ...

    async def release(self, hold_id: HoldId) -> None:
        """Give a hold back of which nothing was used; trouble is logged (the lease runs out), not raised."""
        ...


class PublishedLog(Protocol):
    """A running turn's frames as the board reads them: the index is the frame's number."""

    tenant_id: TenantId
    turn_id: TurnId
    frames: list[bytes]
    accepted: bool
    closed: bool


class TurnBoard(Protocol):
    """Where running turns are visible to other processes."""

    def publish(self, log: PublishedLog) -> None:
        """Note that a log has new frames; they are copied out in the background."""
        ...

    def read(self, tenant_id: TenantId, turn_id: TurnId, after: int) -> AsyncIterator[tuple[int, bytes, bool]]:
        """Follow a turn of another process from the frame after `after` (-1: all): number, frame, whether it ends.

        Yields (-1, b"", False) now and then while nothing comes, so that the reader can look elsewhere.
        """
        ...

    async def received(self, tenant_id: TenantId, turn_id: TurnId) -> Received:
        """Return what a dead process had published of a turn."""
        ...

    async def close(self, tenant_id: TenantId, turn_id: TurnId, seq: int, frame: bytes) -> None:
        """Write a turn's last frame for its dead owner."""
        ...

    async def forget(self, tenant_id: TenantId, turn_ids: Sequence[TurnId]) -> None:
        """Remove what was published of these turns."""
        ...

    async def ask_to_stop(self, turn_id: TurnId) -> None:
        """Tell the process that runs a turn to stop it."""
        ...

    async def show_life(self, owner: str) -> None:
        """Say that a process lives."""
        ...

    async def is_alive(self, owner: str) -> bool:
        """Tell whether a process showed life lately."""
        ...


class TurnsTx(ConversationsTx, AnswersTx, Protocol):
    """What of a transaction turns use."""

    @property
    def turns(self) -> TurnStore:
        """Turns and idempotency keys."""
        ...
