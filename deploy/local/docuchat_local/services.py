"""The services as child processes of the local product."""

import http
import time
from dataclasses import dataclass, field
from pathlib import Path

from docuchat_local.environment import SETTINGS_REFUSED
from docuchat_local.errors import BadEnvironment, ServerFailed
from docuchat_local.probes import http_status
from docuchat_local.supervised import Supervised

_READY_SECONDS = 60
_TRIES = 3
_POLL_SECONDS = 0.05


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
    """The service of this name (`ingest` and `ingest-worker` are the same); raises BadEnvironment."""
    for entry in SERVICES:
        if service in {entry.process, entry.service}:
            return entry
    raise BadEnvironment(f"there is no service {service!r}, only {', '.join(SERVICE_NAMES)}")


@dataclass(slots=True)
class ServiceProcess(Supervised):
    """One process of a service."""

    service: Service = field(kw_only=True)
    management_url: str = field(kw_only=True)
    """Where this very process tells its state and its metrics; `url` may be shared with others."""

    @property
    def log(self) -> Path:
        return self.process.spec.log

    def start(self, *, wait: bool = True) -> None:
        """Start it; with `wait`, return when it is ready."""
        self.begin()
        if wait:
            self.wait_until_ready()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def is_ready(self) -> bool:
        """Whether /readyz answers 200 now."""
        return http_status(f"{self.management_url}/readyz") == http.HTTPStatus.OK

    def wait_until_ready(self, seconds: float = _READY_SECONDS) -> None:
        """Wait for /readyz; raises ServerFailed with the end of the log, also when it crashes again and again."""
        deadline, crashes = time.monotonic() + seconds, self.crashes
        while not self.is_ready():
            if not self.process.is_running and self.process.exit_code == SETTINGS_REFUSED:
                raise BadEnvironment(f"{self.name} refuses its settings:\n{self.process.log_tail()}")
            if self.crashes - crashes >= _TRIES:
                self.leave_down()
                raise ServerFailed(
                    f"{self.name} ended {_TRIES} times before it served; the end of {self.log}:\n"
                    f"{self.process.log_tail()}"
                )
            if not self.is_wanted:
                raise ServerFailed(f"{self.name} was stopped")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} is not ready after {seconds:.0f} s:\n{self.process.log_tail()}")
            time.sleep(_POLL_SECONDS)
