"""What a caller can do with a turn: listen to it, or wait for its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from docuchat_chat.conversations.domain import Message
from docuchat_chat.turns.domain import MESSAGE_STATUS, Outcome, Turn
from docuchat_chat.turns.live import LiveTurn
from docuchat_common.errors import DocuChatError, NotFound
from docuchat_models.chat import TokenUsage


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished turn with its stored message."""

    turn: Turn
    message: Message


class Answering(Protocol):
    """A turn that can be listened to or waited for."""

    @property
    def turn(self) -> Turn:
        """The turn as it was begun."""
        ...

    def events(self, after: int) -> AsyncIterator[bytes]:
        """Return the frames after number `after` (-1: all), until the last one."""
        ...

    async def result(self) -> Answer:
        """Wait for the end; raises what ended the turn when it was not the model."""
        ...


class LiveAnswering:
    """Listens to a turn of this process."""

    def __init__(self, live: LiveTurn, clock: Callable[[], datetime]) -> None:
        self._live = live
        self._clock = clock

    @property
    def turn(self) -> Turn:
        """The turn as it was begun."""
        return self._live.turn

    def events(self, after: int) -> AsyncIterator[bytes]:
        """Return the frames after number `after`."""
        return self._live.log.read(after)

    async def result(self) -> Answer:
        """Wait for the end."""
        await self._live.finished.wait()
        if self._live.failure is not None:
            raise with_turn(self._live.failure, self._live.turn)
        outcome = self._live.outcome
        assert outcome is not None  # a finished turn has an outcome or a failure
        return Answer(self._live.turn, message_of(self._live.turn, outcome, self._clock()))


def message_of(turn: Turn, outcome: Outcome, now: datetime) -> Message:
    """Return the answer of a turn as it was stored."""
    return Message(
        id=turn.message_id,
        chat_id=turn.chat_id,
        seq=0,
        role="assistant",
        content=outcome.text,
        citations=outcome.citations,
        usage=outcome.usage or TokenUsage(0, 0),
        model=turn.model,
        status=MESSAGE_STATUS[outcome.state],
        metadata={"finish_reason": outcome.finish_reason},
        created_at=now,
    )


def with_turn(error: Exception, turn: Turn) -> Exception:
    """Name the turn in a problem, so that the caller can find what was kept of the answer."""
    if isinstance(error, DocuChatError) and not isinstance(error, NotFound):
        error.extensions.setdefault("turn_id", str(turn.id))
        error.extensions.setdefault("chat_id", str(turn.chat_id))
        error.extensions.setdefault("message_id", str(turn.message_id))
    return error
