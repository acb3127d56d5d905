"""How far somebody has read a user's stream of events: a place among what happened, and one in each running turn."""

from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

from docuchat_common.user_events import Position

MOST_TURNS: Final = 16
"""That a stream goes on with: chat is asked for each of them, for one request. Who names more is told to load anew."""
_OPENING: Final = 2
"""A turn's first events: `start` and `sources`."""


@dataclass(slots=True)
class Cursor:
    """It stands as `id` at each event; what a browser sends back goes on exactly behind it, at any gateway."""

    position: Position
    turns: dict[UUID, int] = field(default_factory=dict)
    """How many events were read of each turn that is not over."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` gives; ValueError for anything else."""
        position, *turns = text.split(".")
        if len(turns) > MOST_TURNS:
            raise ValueError("names too many turns")
        parts = (turn.partition(":") for turn in turns)
        return cls(Position.parse(position), {UUID(hex=turn): _count(count) for turn, _, count in parts})

    def __str__(self) -> str:
        return ".".join([str(self.position), *(f"{turn.hex}:{count}" for turn, count in self.turns.items())])


def after(count: int) -> tuple[int, int]:
    """Where to go on in a turn of which `count` events were read: the number of the last delta, and how many to skip.

    A turn's stream that begins at its beginning repeats its opening.
    """
    return (count - _OPENING, 0) if count > _OPENING else (0, count)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError("is no count")
    return int(text)
