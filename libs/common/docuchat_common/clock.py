"""What time it is, as a port: rules about leases and periods are tested without waiting."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The current moment, aware UTC."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """The current moment, aware UTC."""
        return datetime.now(UTC)
