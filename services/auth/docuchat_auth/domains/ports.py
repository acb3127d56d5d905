"""What proving a domain needs from the world."""

from typing import Protocol


class TextRecords(Protocol):
    """Asks the DNS."""

    async def texts_of(self, name: str) -> list[str]:
        """The TXT records of a name; none where there is no such name. Raises DnsUnavailable."""
        ...
