"""The act that a request is about, for the audit log: told in one place, known wherever the request leads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class Act:
    """What a request does, from where, and what was written of it."""

    name: str
    address: Callable[[], str]
    device: str = ""
    """What the client says of itself, shortened."""
    shown: str = ""
    """A name that the client was given at an earlier sign-in, which nobody else can show; empty: it shows none."""
    named: str = ""
    """What it will show the next time."""
    written: list[str] = field(default_factory=list)
    """The names of the audit entries that its transactions wrote."""
    caller: object = None
    """Who is signed in, once that is known."""
    parts: set[str] = field(default_factory=set)
    """The names of further entries that it may have written, one for each of its parts."""
    is_doubtful: bool = False
    """That a transaction of it was not answered: its entries may be there, and who repeats it writes them again."""
    is_excused: bool = False
    """That it wrote none is right: it changed nothing, or does so after its answer has begun."""


_current: ContextVar[Act | None] = ContextVar("act", default=None)


@contextmanager
def acting(act: Act) -> Iterator[Act]:
    """Make `act` the current one; tasks that begin inside keep it."""
    token = _current.set(act)
    try:
        yield act
    finally:
        _current.reset(token)


def current_act() -> Act | None:
    """The act of this request; None in background work and in commands."""
    return _current.get()


def note_caller(caller: object) -> None:
    """Say who does it."""
    if (act := _current.get()) is not None:
        act.caller = caller


def note_device(shown: str, named: str) -> None:
    """Say by which name the client shows to have been here before, and by which one it will the next time."""
    if (act := _current.get()) is not None:
        act.shown, act.named = shown, named


def excuse_act() -> None:
    """Say that this request changes nothing, or only after its answer has begun."""
    if (act := _current.get()) is not None:
        act.is_excused = True


def doubt_act() -> None:
    """Say that a transaction of this request was not answered: it may have taken place, or not."""
    if (act := _current.get()) is not None:
        act.is_doubtful = True


def part_act(name: str) -> None:
    """Say that this request does several things, each with an entry of `name` besides its own."""
    if (act := _current.get()) is not None:
        act.parts.add(name)
