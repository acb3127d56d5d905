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
    is_known: bool = False
    """Whether this device has signed in to the account before, as far as it was asked."""


NOWHERE: Final = Origin()
_noted: ContextVar[Origin] = ContextVar("origin", default=NOWHERE)


def note_origin(origin: Origin) -> None:
    """Say it for what the present request does."""
    _noted.set(origin)


def note_known_device() -> None:
    """Say that the device has signed in to the account before."""
    _noted.set(replace(_noted.get(), is_known=True))


def current_origin() -> Origin:
    """Where the present request comes from; NOWHERE when its route asks for no `ClientAddress`."""
    return _noted.get()
