"""One pause for all workers: after a provider's 429 nobody asks it again before it said so."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol


class Throttle(Protocol):
    """Port: how long to hold back, shared by every process that uses the same provider account."""

    async def remaining_pause(self) -> timedelta:
        """Zero when asking is allowed."""
        ...

    async def pause(self, duration: timedelta) -> None:
        """Hold everybody back; a longer pause that is set already stays."""
        ...
