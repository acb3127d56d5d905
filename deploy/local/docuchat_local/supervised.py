"""What is kept running: a program that ends unasked is started again, after a pause that grows with every crash."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from docuchat_local.environment import SETTINGS_REFUSED
from docuchat_local.errors import LocalError, ServerFailed
from docuchat_local.processes import Process

_START_SECONDS = 60
_POLL_SECONDS = 0.05
_PAUSE_SECONDS = 1.0
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
    crashes: int = 0
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
        self.crashes += 1
        if time.monotonic() - self._started_at > _STABLE_SECONDS:
            self._backoff_seconds = _FIRST_BACKOFF_SECONDS
        self.say(
            f"{self.name} ended with {self.process.exit_code} ({self.process.spec.log} says why); "
            f"starting it again in {self._backoff_seconds:g} s"
        )
        self._timer = threading.Timer(self._backoff_seconds, self.begin_again)
        self._timer.daemon = True
        self._timer.start()
        self._backoff_seconds = min(2 * self._backoff_seconds, _LONGEST_BACKOFF_SECONDS)

    def begin_again(self) -> None:
        """Start it after a crash, if it is still wanted."""
        if self.is_wanted:
            with suppress(ServerFailed):  # the product is being stopped
                self.begin()


@dataclass(slots=True)
class Server(Supervised):
    """One server; it can be killed, stopped and started again on the same port with the same data."""

    _serves: Callable[[], bool] = field(kw_only=True)
    _companions: tuple[Process, ...] = ()
    has_served: bool = False
    make_ready: Callable[[], None] = field(default=lambda: None)
    """Makes what clients expect of it, each time it serves again: its data may be gone. Raises LocalError."""

    def begin(self) -> None:
        """Start it and what it needs beside it; returns at once."""
        self.has_served = False
        for companion in self._companions:
            companion.start()
        Supervised.begin(self)

    def start(self) -> None:
        """Start it and wait until it accepts clients; raises ServerFailed with the end of its log."""
        self.begin()
        try:
            self._wait_until_ready()
        except ServerFailed:
            self.leave_down()
            raise
        self.make_ready()

    def is_ready(self) -> bool:
        """Whether it accepts clients now."""
        return self._serves()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def begin_again(self) -> None:
        """Start it after a crash, and make it ready once it serves, however often that takes."""
        Supervised.begin_again(self)
        while self.is_wanted and self.process.is_running:
            try:
                self._wait_until_ready()
                self.make_ready()
            except LocalError as fault:
                if self.process.wait(_PAUSE_SECONDS):
                    return  # it has ended again, which was told
                self.say(f"{self.name}: {fault}; trying again")
            else:
                return

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self.is_ready():
            if not self.process.is_running:
                raise ServerFailed(
                    f"{self.name} ended with {self.process.exit_code} at its start:\n{self.process.log_tail()}"
                )
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} did not serve within {_START_SECONDS} s:\n{self.process.log_tail()}")
            self.process.wait(_POLL_SECONDS)
        self.has_served = True

    def freeze(self) -> None:
        """Stop it from answering without closing its connections."""
        self.process.freeze()

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self.process.thaw()
