"""What this process has seen of embeddings lately: who fails again and again is left alone for a while."""

from __future__ import annotations

import asyncio
from datetime import timedelta


class Silences:
    """After a few failures in a row a provider is left alone for a while; then one question finds out.

    Not `http.breaker`: that one is shut by a probe of `/livez`, which a provider does not have.
    """

    def __init__(self, *, most: int = 3, pause: timedelta = timedelta(seconds=10)) -> None:
        self._most = most
        self._pause = pause.total_seconds()
        self._failures = 0
        self._asked_at = float("-inf")

    def admits(self) -> bool:
        """Tell whether a question may go to the provider, and count on its being asked then."""
        now = asyncio.get_running_loop().time()
        if self._failures >= self._most and now - self._asked_at < self._pause:
            return False
        self._asked_at = now
        return True

    def note(self, *, is_silent: bool) -> None:
        """Count what became of a question."""
        self._failures = self._failures + 1 if is_silent else 0
