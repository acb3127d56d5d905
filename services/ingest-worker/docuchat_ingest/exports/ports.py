"""What exports need from outside."""

from collections.abc import AsyncGenerator
from typing import Protocol

from docuchat_common.exporting import Exported


class Source(Protocol):
    """A service that keeps something of tenants."""

    def lines(self, whose: Exported) -> AsyncGenerator[bytes, None]:
        """All that it keeps, as `docuchat_common.exporting` says. Raises UpstreamUnavailable."""
        ...
