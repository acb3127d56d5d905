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

from docuchat_local.backing import BackingServers, told_interruption
from docuchat_local.database import keep_operator_key, prepare_database
from docuchat_local.environment import ServiceEnvironments
from docuchat_local.ground import Ground, lay_ground, listen, start_broker
from docuchat_local.logs import bounded_logs
from docuchat_local.probes import wait_for_code
from docuchat_local.processes import ProcessSpec
from docuchat_local.services import GATEWAY, SERVICE_NAMES, SERVICES, Service, ServiceProcess, entry_of


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
    _ground: Ground
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
        for server in self.servers.all if self.servers else ():
            if not server.has_served:
                server.kill()  # in the midst of its start it does not hear that it shall stop, and has nothing to lose
        self._ground.warden.begin_stop()


def prepare_only(folder: Path, settings: Mapping[str, str], say: Callable[[str], None]) -> bool:
    """Prepare the database without starting a service; False when there was nothing to do."""
    with ExitStack() as stack, told_interruption(say):
        ground = lay_ground(stack, folder, settings, fast=False, say=say)
        if ground.servers:
            ground.servers.postgres.start()
        start_broker(ground, say)
        return prepare_database(ground.environments, ground.admin_url, ground.stamp, say)


def _told(name: str, start: Callable[[], None], say: Callable[[str], None]) -> None:
    """Start something, and say when it is ready."""
    began = time.monotonic()
    start()
    say(f"{name} is ready after {time.monotonic() - began:.1f} s")


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
    with ExitStack() as stack, told_interruption(say):
        ground = lay_ground(stack, folder, settings, fast=fast, say=say)
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
        # services connect to the broker when they first need it, so nobody waits for the slowest of the three
        broker = partial(start_broker, ground, say)
        if ground.servers:
            say("starting PostgreSQL, Redis and RabbitMQ: some seconds, on a busy machine up to a minute")
            pending.append(threads.submit(_told, "RabbitMQ", broker, say))
            redis = threads.submit(_told, "Redis", ground.servers.redis.start, say)
            _told("PostgreSQL", ground.servers.postgres.start, say)
            redis.result()
        else:
            pending.append(threads.submit(broker))
        prepare_database(ground.environments, ground.admin_url, ground.stamp, say)
        keep_operator_key(ground.environments, ground.folder / "operator.json", product.gateway_url)
        say(f"starting {', '.join(SERVICE_NAMES)}: some seconds")
        product._add_services()  # noqa: SLF001 - one module
        for handle in product.processes.values():
            handle.start(wait=False)
        pending += [
            threads.submit(_told, handle.name, handle.wait_until_ready, say) for handle in product.processes.values()
        ]
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
