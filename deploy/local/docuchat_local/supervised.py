"""What is kept running: a program that ends unasked is started again, after a pause that grows with every crash."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from docuchat_local.environment import SETTINGS_REFUSED
from docuchat_local.errors import ServerFailed
from docuchat_local.processes import Process

_STABLE_SECONDS = 60
_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 30.0


@dataclass(slots=True)
class Supervised:
    """One program of the product. A crash is followed by a restart; `kill` and `stop` keep it down."""

    name: str
    url: str
    process: Process
    say: Callable[[str], None]
    """Told, in one line, about each crash and each return."""
    is_wanted: bool = False
    _started_at: float = 0.0
    _backoff_seconds: float = _FIRST_BACKOFF_SECONDS
    _timer: threading.Timer | None = None

    def __post_init__(self) -> None:
        self.process.on_exit = self._after_exit

    @property
    def pid(self) -> int | None:
        return self.process.pid

    def begin(self) -> None:
        """Start it, and again after each crash; returns at once."""
        self.is_wanted = True
        self._started_at = time.monotonic()
        self.process.start()

    def is_ready(self) -> bool:
        """Whether it serves now."""
        raise NotImplementedError

    def kill(self) -> None:
        """SIGKILL it and its children, as a crash would end it, and leave it down."""
        self.leave_down()
        self.process.kill()

    def stop(self) -> None:
        """End it in order, and leave it down."""
        self.leave_down()
        self.process.stop()

    def leave_down(self) -> None:
        """Restart it no more."""
        self.is_wanted = False
        if self._timer:
            self._timer.cancel()

    def _after_exit(self) -> None:
        if not self.is_wanted or self.process.exit_code == SETTINGS_REFUSED:
            return
        if time.monotonic() - self._started_at > _STABLE_SECONDS:
            self._backoff_seconds = _FIRST_BACKOFF_SECONDS
        self.say(f"{self.name} ended with {self.process.exit_code}; starting it again in {self._backoff_seconds:g} s")
        self._timer = threading.Timer(self._backoff_seconds, self._begin_again)
        self._timer.daemon = True
        self._timer.start()
        self._backoff_seconds = min(2 * self._backoff_seconds, _LONGEST_BACKOFF_SECONDS)

    def _begin_again(self) -> None:
        if self.is_wanted:
            with suppress(ServerFailed):  # the product is being stopped
                self.begin()
