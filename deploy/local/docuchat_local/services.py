"""The services as child processes of the local product."""

import http
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from docuchat_local.environment import SETTINGS_REFUSED
from docuchat_local.errors import BadEnvironment, ServerFailed
from docuchat_local.probes import http_status
from docuchat_local.processes import Process

_READY_SECONDS = 60
_POLL_SECONDS = 0.05
_STABLE_SECONDS = 60
_LONGEST_BACKOFF_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Service:
    process: str
    service: str
    module: str
    port: int
    stage: int


GATEWAY = Service("gateway", "gateway", "docuchat_gateway", 8000, 3)  # stops first
SERVICES = (
    Service("auth", "auth", "docuchat_auth", 8001, 2),
    Service("chat", "chat", "docuchat_chat", 8002, 2),
    Service("usage", "usage", "docuchat_usage", 8003, 2),
    Service("ingest-worker", "ingest", "docuchat_ingest", 8004, 2),
    GATEWAY,
)
SERVICE_NAMES = tuple(service.process for service in SERVICES)


def entry_of(service: str) -> Service:
    return next(entry for entry in SERVICES if service in {entry.process, entry.service})


@dataclass(slots=True)
class ServiceProcess:
    """One process of a service. A crash is followed by a restart with backoff; `kill` and `stop` keep it down."""

    name: str
    url: str
    process: Process
    is_wanted: bool = False
    _started_at: float = 0.0
    _backoff_seconds: float = 0.5
    _timer: threading.Timer | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid

    @property
    def log(self) -> Path:
        return self.process.spec.log

    def start(self, *, wait: bool = True) -> None:
        """Start it; with `wait`, return when it is ready."""
        self.is_wanted = True
        self._started_at = time.monotonic()
        self.process.start()
        if wait:
            self.wait_until_ready()

    def kill(self) -> None:
        """SIGKILL it and its children, as a crash would end it, and leave it down."""
        self.leave_down()
        self.process.kill()

    def stop(self) -> None:
        """SIGTERM it and wait until it has drained."""
        self.leave_down()
        self.process.stop()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def is_ready(self) -> bool:
        """Whether /readyz answers 200 now."""
        return http_status(f"{self.url}/readyz") == http.HTTPStatus.OK

    def wait_until_ready(self, seconds: float = _READY_SECONDS) -> None:
        """Wait for /readyz; raises ServerFailed with the end of the log."""
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if not self.process.is_running and self.process.exit_code == SETTINGS_REFUSED:
                raise BadEnvironment(f"{self.name} refuses its settings:\n{self.process.log_tail()}")
            if not self.is_wanted:
                raise ServerFailed(f"{self.name} was stopped")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} is not ready after {seconds:.0f} s:\n{self.process.log_tail()}")
            time.sleep(_POLL_SECONDS)

    def restart_after_crash(self, say: Callable[[str], None]) -> None:
        """Start again after a pause that doubles with every crash and is forgotten after a while without one."""
        if time.monotonic() - self._started_at > _STABLE_SECONDS:
            self._backoff_seconds = 0.5
        say(f"{self.name} ended with {self.process.exit_code}; starting it again in {self._backoff_seconds:g} s")
        self._timer = threading.Timer(self._backoff_seconds, self._start_again)
        self._timer.daemon = True
        self._timer.start()
        self._backoff_seconds = min(2 * self._backoff_seconds, _LONGEST_BACKOFF_SECONDS)

    def _start_again(self) -> None:
        if self.is_wanted:
            with suppress(ServerFailed):  # the product is being stopped
                self.start(wait=False)

    def leave_down(self) -> None:
        """Restart it no more."""
        self.is_wanted = False
        if self._timer:
            self._timer.cancel()
