"""Where the request comes from that is being answered."""

from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from."""

    device: str = ""
    """What the client says of itself, shortened."""
    address: str = ""
    shown: str = ""
    """A name that the client was given at an earlier sign-in, which nobody else can show; empty: it shows none."""
    named: str = ""
    """What it will show the next time."""


NOWHERE: Final = Origin()
_noted: ContextVar[Origin] = ContextVar("origin", default=NOWHERE)


def note_origin(origin: Origin) -> None:
    """Say it for what the present request does."""
    _noted.set(origin)


def note_device(shown: str, named: str) -> None:
    """Say by which name the client shows to have been here before, and by which one it will the next time."""
    _noted.set(replace(_noted.get(), shown=shown, named=named))


def current_origin() -> Origin:
    """Where the present request comes from; NOWHERE when its route asks for no `ClientAddress`."""
    return _noted.get()
