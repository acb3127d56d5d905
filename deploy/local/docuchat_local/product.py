"""The whole product on this machine: servers and services as child processes.

async with running_product(folder, {"OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": "x"}, fast=True) as product:
    await client.get(f"{product.gateway_url}/healthz")
    await asyncio.to_thread(product.processes["ingest-worker"].kill)
    await asyncio.to_thread(product.servers.rabbitmq.restart)
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from docuchat_local.backing import BackingServers, make_servers
from docuchat_local.database import prepare_database
from docuchat_local.environment import (
    ROOT,
    SETTINGS_REFUSED,
    ServiceEnvironments,
    blob_url,
    external_servers,
    require_reachable,
)
from docuchat_local.errors import BadEnvironment
from docuchat_local.probes import wait_for_code
from docuchat_local.processes import Process, ProcessSpec, Warden
from docuchat_local.services import GATEWAY, SERVICE_NAMES, SERVICES, Service, ServiceProcess, entry_of
from docuchat_local.state import Ports, Secrets, choose_port, is_port_free
from docuchat_local.vocabulary import prepare_vocabulary

_HIGHEST_PORT = 65_535


@dataclass(slots=True)
class RunningProduct:
    """Handles on a running product."""

    folder: Path
    gateway_url: str
    processes: dict[str, ServiceProcess]
    servers: BackingServers | None
    """None when BACKING=external."""
    postgres_admin_url: str
    environments: ServiceEnvironments
    _ground: "_Ground"
    _say: Callable[[str], None] = field(default=lambda _: None)

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def env_for(self, service: str) -> dict[str, str]:
        """The environment in which a process of `service` runs (`ingest` and `ingest-worker` are the same)."""
        entry = entry_of(service)
        return dict(self.processes[entry.process].process.spec.environment)

    def add_replica(self, service: str) -> ServiceProcess:
        """Start one more process of `service`, on a port of its own, named `<service>-2` and so on."""
        entry = entry_of(service)
        number = 2 + sum(name.startswith(f"{entry.process}-") for name in self.processes if name != entry.process)
        name = f"{entry.process}-{number}"
        replica = self._add(entry, name, self._ground.ports.claim(name))
        replica.start()
        return replica

    def sign_in_code(self, since: int = 0, seconds: float = 10) -> str:
        """The newest sign-in code in auth's log after byte `since`; waits for it, raises ServerFailed."""
        return wait_for_code(self.processes["auth"].log, since, seconds)

    def _add(self, entry: Service, name: str, port: int, host: str = "127.0.0.1") -> ServiceProcess:
        spec = ProcessSpec(
            name,
            [sys.executable, "-m", entry.module],
            self.environments.for_service(entry.service, port, host),
            self.folder,
            self.logs / f"{name}.log",
            stage=entry.stage,
        )
        if spec.log.exists():
            spec.log.replace(spec.log.with_suffix(".log.1"))
        spec.log.touch(mode=0o600)
        handle = ServiceProcess(name, f"http://127.0.0.1:{port}", self._ground.warden.add(spec))
        self.processes[name] = handle
        return handle

    def _begin_stop(self) -> None:
        for handle in self.processes.values():
            handle.leave_down()
        self._ground.warden.begin_stop()

    def _exited(self, process: Process) -> None:
        handle = next((handle for handle in self.processes.values() if handle.process is process), None)
        if handle is not None and handle.is_wanted and process.exit_code != SETTINGS_REFUSED:
            handle.restart_after_crash(self._say)


@dataclass(frozen=True, slots=True)
class _Ground:
    """What services stand on: servers, addresses, secrets; prepared, not yet started."""

    folder: Path
    warden: Warden
    ports: Ports
    servers: BackingServers | None
    admin_url: str
    environments: ServiceEnvironments
    fast: bool

    @property
    def stamp(self) -> Path | None:
        """Where our own database remembers what was applied to it: inside its data, so that it goes with them."""
        return self.servers.postgres.process.spec.folder / "data" / "docuchat.prepared" if self.servers else None


def _lay_ground(stack: ExitStack, folder: Path, settings: Mapping[str, str], *, fast: bool) -> _Ground:
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    external = external_servers(settings)
    if external:
        require_reachable("REDIS_URL", external.redis_url, 6379)
        require_reachable("RABBITMQ_URL", external.rabbitmq_url, 5672)
    vocabulary = prepare_vocabulary(
        ROOT / ".local" / "tiktoken", ROOT / "deploy" / "local" / "vocabulary.lock", settings
    )
    warden = stack.enter_context(Warden(folder / "lock"))
    (folder / "logs").mkdir(exist_ok=True)
    ports, secrets = Ports(folder / "ports.json"), Secrets(folder / "secrets.json")
    servers = None if external else make_servers(folder, warden, ports, secrets, fast=fast)
    given = external or servers
    assert given is not None
    environments = ServiceEnvironments(
        settings=settings,
        secrets=secrets,
        postgres_url=given.postgres_admin_url,
        redis_url=given.redis_url,
        rabbitmq_url=given.rabbitmq_url,
        blob_url=blob_url(settings, folder),
        vocabulary=vocabulary,
        ports={
            entry.service: ports.claim(entry.process, None if fast else entry.port)
            for entry in SERVICES
            if entry is not GATEWAY
        },
    )
    return _Ground(folder, warden, ports, servers, given.postgres_admin_url, environments, fast)


def prepare_only(folder: Path, settings: Mapping[str, str], say: Callable[[str], None]) -> bool:
    """Prepare the database without starting a service; False when there was nothing to do."""
    with ExitStack() as stack:
        ground = _lay_ground(stack, folder, settings, fast=False)
        if ground.servers:
            ground.servers.postgres.start()
        return prepare_database(ground.environments, ground.admin_url, ground.stamp, say)


@contextmanager
def started_product(
    folder: Path,
    settings: Mapping[str, str],
    *,
    fast: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[RunningProduct]:
    """Run the product with its data below `folder`; everything is stopped on leaving, gateway first, servers last.

    `settings` are variables as in `.env`; GATEWAY_PORT among them is binding, else it is 8000, or another port when
    8000 is taken. `say` is told about progress. `fast` is for tests: no fsync, and ports that nobody expects.
    """
    with ExitStack() as stack:
        ground = _lay_ground(stack, folder, settings, fast=fast)
        gateway_port = _gateway_port(settings, fast=fast, say=say)
        product = RunningProduct(
            folder=ground.folder,
            gateway_url=f"http://127.0.0.1:{gateway_port}",
            processes={},
            servers=ground.servers,
            postgres_admin_url=ground.admin_url,
            environments=ground.environments,
            _ground=ground,
            _say=say,
        )
        threads = stack.enter_context(ThreadPoolExecutor(8))
        # before the threads are waited for: what they wait for ends with this
        stack.callback(product._begin_stop)  # noqa: SLF001 - one module
        ground.warden.on_exit = product._exited  # noqa: SLF001 - one module
        pending: list[Future[None]] = []
        if ground.servers:
            say("starting PostgreSQL, Redis and RabbitMQ")
            # services connect to the broker when they first need it, so nobody waits for the slowest of the three
            pending.append(threads.submit(ground.servers.rabbitmq.start))
            redis = threads.submit(ground.servers.redis.start)
            ground.servers.postgres.start()
            redis.result()
        prepare_database(ground.environments, ground.admin_url, ground.stamp, say)
        say(f"starting {', '.join(SERVICE_NAMES)}")
        for entry in SERVICES:
            if entry is GATEWAY:
                handle = product._add(entry, entry.process, gateway_port, settings.get("HOST", "127.0.0.1"))  # noqa: SLF001
            else:
                handle = product._add(entry, entry.process, ground.environments.ports[entry.service])  # noqa: SLF001
            handle.start(wait=False)
        pending += [threads.submit(handle.wait_until_ready) for handle in product.processes.values()]
        for future in as_completed(pending):
            future.result()
        running = ground.folder / "run.json"
        running.write_text(
            json.dumps({"gateway_url": product.gateway_url, "auth_log": str(product.processes["auth"].log)})
        )
        stack.callback(running.unlink, missing_ok=True)
        yield product


@asynccontextmanager
async def running_product(
    folder: Path, settings: Mapping[str, str] | None = None, *, fast: bool = True
) -> AsyncIterator[RunningProduct]:
    """Do as `started_product`, without blocking the event loop; for tests: own ports, no fsync unless asked."""
    context = started_product(folder, dict(settings or {}), fast=fast)
    product = await asyncio.to_thread(context.__enter__)
    try:
        yield product
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


def _gateway_port(settings: Mapping[str, str], *, fast: bool, say: Callable[[str], None]) -> int:
    if wanted := settings.get("GATEWAY_PORT"):
        if not wanted.isdecimal() or int(wanted) > _HIGHEST_PORT:
            raise BadEnvironment(f"GATEWAY_PORT is {wanted!r}, not a number from 1 to {_HIGHEST_PORT}")
        if int(wanted) and not is_port_free(int(wanted)):
            raise BadEnvironment(f"port {wanted} is taken by another program; set GATEWAY_PORT to another one")
        return int(wanted) or choose_port(set())
    if fast:
        return choose_port(set())
    preferred = GATEWAY.port
    if is_port_free(preferred):
        return preferred
    port = choose_port(set())
    say(f"port {preferred} is taken by another program; the gateway listens on {port} (GATEWAY_PORT decides)")
    return port
