"""Time that passes at once."""

from __future__ import annotations

import asyncio


def leap(seconds: float) -> None:
    """Let the running loop's clock go ahead: what waits until then is due. The loop keeps it to its end."""
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds  # type: ignore[method-assign]  # a clock of its own for this loop
