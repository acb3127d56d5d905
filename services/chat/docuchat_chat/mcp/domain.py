"""A call of a tool, as the tools know it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from docuchat_common.http.caller import Caller

Tell = Callable[[float, str], Awaitable[None]]
"""Reports progress: a number that only grows, and what is being done."""


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls a tool, and how the call is followed and cancelled."""

    caller: Caller
    tell: Tell | None = None
    """None where the client did not ask for progress."""
    name: str | None = None
    """Under which a notification cancels it; None where it is cancelled in no such way."""
    ends_with_its_stream: bool = False
    """Whether a client that closes the stream of the answer has cancelled it. Protocols before 2026-07-28 say that it
    has not, and cancel by a notification."""
