"""The whole product on this machine: servers and services as child processes.

async with running_product(folder, {"OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": "x"}, fast=True) as product:
    await client.get(f"{product.gateway_url}/healthz")
    await asyncio.to_thread(product.processes["ingest-worker"].kill)
    await asyncio.to_thread(product.servers.rabbitmq.restart)
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from docuchat_local.accounts import own_folder, service_account
from docuchat_local.backing import BackingServers, make_servers
from docuchat_local.broker import prepare_broker
from docuchat_local.database import keep_operator_key, prepare_database
from docuchat_local.environment import (
    ROOT,
    ServiceEnvironments,
    blob_url,
    external_servers,
    model_provider,
    require_reachable,
)
from docuchat_local.errors import BadEnvironment
from docuchat_local.logs import bounded_logs
from docuchat_local.probes import wait_for_code
from docuchat_local.processes import Account, ProcessSpec, Warden
from docuchat_local.services import GATEWAY, SERVICE_NAMES, SERVICES, Service, ServiceProcess, entry_of
from docuchat_local.state import Ports, Secrets
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

    def add_replica(self, service: str, *, shared: bool = False) -> ServiceProcess:
        """Start one more process of `service`, named `<service>-2` and so on.

        It listens on a port of its own; a `shared` one on the service's socket, beside those that are there.
        """
        entry = entry_of(service)
        number = 2 + sum(name.startswith(f"{entry.process}-") for name in self.processes if name != entry.process)
        name = f"{entry.process}-{number}"
        if shared:
            replica = self._add(entry, name, self._ground.listening[entry.service], entry.process)
        else:
            replica = self._add(entry, name, listen(self._ground.warden, self._ground.ports, name), name)
        replica.start()
        return replica

    def sign_in_code(self, since: int = 0, seconds: float = 10) -> str:
        """The newest sign-in code in auth's log after byte `since`; waits for it, raises ServerFailed."""
        return wait_for_code(self.processes["auth"].log, since, seconds)

    def restart(
        self,
        services: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Replace every process of `services`, of all when none is named, one after the other.

        The successor listens on the same socket, with `settings` when they are given. Once it is ready the process
        before it takes nothing new, ends what it has, and goes: nobody is refused. Raises LocalError when a successor
        does not become ready; the process before it then goes on. `say` is told about each.
        """
        wanted = {entry_of(service) for service in services} or set(SERVICES)
        if settings is not None:
            self.environments = replace(self.environments, settings=settings)
        for name, handle in list(self.processes.items()):
            if handle.service in wanted:
                began = time.monotonic()
                self._replace(name)
                say(f"{name} restarted in {time.monotonic() - began:.1f} s")

    def _replace(self, name: str) -> None:
        """Have a successor take the place of one process."""
        before, ports = self.processes[name], self._ground.ports
        port_before = urlsplit(before.management_url).port or 0
        listener = before.process.spec.listener or name
        successor = self._make(before.service, name, urlsplit(before.url).port or 0, listener)
        starting = successor.process.spec.name
        self.processes[starting] = successor
        try:
            successor.start()
        except BaseException:
            successor.kill()
            ports.remember(f"{name}_management", port_before)
            raise
        else:
            self.processes[name] = successor
        finally:
            del self.processes[starting]
        before.stop()

    def _add(self, entry: Service, name: str, port: int, listener: str) -> ServiceProcess:
        self.processes[name] = handle = self._make(entry, name, port, listener)
        if handle.log.exists():
            handle.log.replace(handle.log.with_suffix(".log.1"))
        handle.log.touch(mode=0o600)
        return handle

    def _make(self, entry: Service, name: str, port: int, listener: str) -> ServiceProcess:
        """A process of `entry`, not yet started; its management port is another one than that of a living `name`."""
        management_port = self._ground.ports.claim(f"{name}_management")
        spec = ProcessSpec(
            f"{name}@{management_port}",
            [sys.executable, "-m", entry.module],
            self.environments.for_service(entry.service, port, management_port),
            self.folder,
            self.logs / f"{name}.log",
            stage=entry.stage,
            account=self._ground.account,
            listener=listener,
        )
        return ServiceProcess(
            name,
            f"http://127.0.0.1:{port}",
            self._ground.warden.add(spec),
            self._say,
            service=entry,
            management_url=f"http://127.0.0.1:{management_port}",
        )

    def _add_services(self) -> None:
        """Every process of every service; those of one service share its socket."""
        for entry in SERVICES:
            for number in range(1, self._ground.environments.process_count(entry.service) + 1):
                name = entry.process if number == 1 else f"{entry.process}-{number}"
                self._add(entry, name, self._ground.listening[entry.service], entry.process)

    def _begin_stop(self) -> None:
        for handle in (*list(self.processes.values()), *(self.servers.all if self.servers else ())):
            handle.leave_down()
        self._ground.warden.begin_stop()


@dataclass(frozen=True, slots=True)
class _Ground:
    """What services stand on: servers, addresses, secrets; prepared, not yet started."""

    folder: Path
    warden: Warden
    ports: Ports
    servers: BackingServers | None
    admin_url: str
    environments: ServiceEnvironments
    listening: Mapping[str, int]
    """Port of each service, on which we listen already."""
    account: Account | None

    @property
    def stamp(self) -> Path | None:
        """Where our own database remembers what was applied to it: inside its data, so that it goes with them."""
        return self.servers.postgres.process.spec.folder / "data" / "docuchat.prepared" if self.servers else None


def _lay_ground(
    stack: ExitStack, folder: Path, settings: Mapping[str, str], *, fast: bool, say: Callable[[str], None]
) -> _Ground:
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
    servers = None if external else make_servers(folder, warden, ports, secrets, fast=fast, say=say)
    given = external or servers
    assert given is not None
    listening = {
        entry.service: listen(warden, ports, entry.process, None if fast else entry.port)
        for entry in SERVICES
        if entry is not GATEWAY
    }
    listening[GATEWAY.service] = _listen_publicly(warden, ports, settings, fast=fast, say=say)
    account = service_account(folder, say)
    for private in ("blobs", "spool", "home"):
        own_folder(folder / private, account)
    environments = ServiceEnvironments(
        settings=settings,
        secrets=secrets,
        postgres_url=given.postgres_admin_url,
        redis_url=given.redis_url,
        rabbitmq_url=given.rabbitmq_url,
        blob_url=blob_url(settings, folder),
        spool=folder / "spool",
        vocabulary=vocabulary,
        ports=listening,
        home=folder / "home" if account else None,
    )
    say(
        f"tenant 1, demo, is {environments.demo_signup} to sign-up: "
        + ("only this machine reaches the gateway" if environments.demo_signup == "open" else "HOST lets others in")
    )
    say(model_provider(settings))
    return _Ground(folder, warden, ports, servers, given.postgres_admin_url, environments, listening, account)


def _start_broker(ground: _Ground, say: Callable[[str], None]) -> None:
    """Start our own broker, if it is ours, and make ready what services expect of it; they wait for it meanwhile."""
    is_ours = ground.servers is not None
    make_ready = partial(prepare_broker, ground.environments, ground.folder, is_ours=is_ours, say=say)
    if ground.servers:
        ground.servers.rabbitmq.make_ready = make_ready
        ground.servers.rabbitmq.start()
    else:
        make_ready()


def prepare_only(folder: Path, settings: Mapping[str, str], say: Callable[[str], None]) -> bool:
    """Prepare the database without starting a service; False when there was nothing to do."""
    with ExitStack() as stack:
        ground = _lay_ground(stack, folder, settings, fast=False, say=say)
        if ground.servers:
            ground.servers.postgres.start()
        _start_broker(ground, say)
        return prepare_database(ground.environments, ground.admin_url, ground.stamp, say)


@contextmanager
def started_product(
    folder: Path,
    settings: Mapping[str, str],
    *,
    fast: bool = False,
    say: Callable[[str], None] = lambda _: None,
    on_lost: Callable[[], None] = lambda: None,
) -> Iterator[RunningProduct]:
    """Run the product with its data below `folder`; everything is stopped on leaving, gateway first, servers last.

    `settings` are variables as in `.env`; GATEWAY_PORT among them is binding, else it is 8000, or another port when
    8000 is taken. `say` is told about progress. `fast` is for tests: no fsync, and ports that
    nobody expects. `on_lost` is called when the process that holds all the others was killed.
    """
    with ExitStack() as stack:
        ground = _lay_ground(stack, folder, settings, fast=fast, say=say)
        ground.warden.on_lost = on_lost
        product = RunningProduct(
            folder=ground.folder,
            gateway_url=f"http://127.0.0.1:{ground.listening[GATEWAY.service]}",
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
        stack.enter_context(bounded_logs(product.logs))
        pending: list[Future[None]] = []
        if ground.servers:
            say("starting PostgreSQL, Redis and RabbitMQ")
            # services connect to the broker when they first need it, so nobody waits for the slowest of the three
            pending.append(threads.submit(_start_broker, ground, say))
            redis = threads.submit(ground.servers.redis.start)
            ground.servers.postgres.start()
            redis.result()
        else:
            pending.append(threads.submit(_start_broker, ground, say))
        prepare_database(ground.environments, ground.admin_url, ground.stamp, say)
        keep_operator_key(ground.environments, ground.folder / "operator.json", product.gateway_url)
        say(f"starting {', '.join(SERVICE_NAMES)}")
        product._add_services()  # noqa: SLF001 - one module
        for handle in product.processes.values():
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


def listen(warden: Warden, ports: Ports, name: str, preferred: int | None = None, host: str = "127.0.0.1") -> int:
    """Listen for `name` on the preferred port, else on its remembered one, else on any; the port is remembered."""
    while True:
        port = ports.claim(name, preferred)
        if warden.listen(name, host, port):
            return port
        ports.forget(name)  # somebody took it in this moment
        preferred = None


def _listen_publicly(
    warden: Warden, ports: Ports, settings: Mapping[str, str], *, fast: bool, say: Callable[[str], None]
) -> int:
    """Listen for the gateway: where GATEWAY_PORT says and nowhere else, or else on 8000 when that is free."""
    host = settings.get("HOST", "127.0.0.1")
    wanted = settings.get("GATEWAY_PORT")
    if not wanted:
        preferred = None if fast else GATEWAY.port
        port = listen(warden, ports, GATEWAY.process, preferred, host)
        if preferred and port != preferred:
            say(
                f"port {preferred} is taken by another program; this time the gateway listens on {port} (GATEWAY_PORT "
                f"chooses another). From other folders: docuchat login --server http://127.0.0.1:{port}"
            )
        return port
    if not wanted.isdecimal() or int(wanted) > _HIGHEST_PORT:
        raise BadEnvironment(f"GATEWAY_PORT is {wanted!r}, not a number from 1 to {_HIGHEST_PORT}")
    given = warden.listen(GATEWAY.process, host, int(wanted))
    if given is None:
        raise BadEnvironment(f"port {wanted} is taken by another program; set GATEWAY_PORT to another one")
    return given
