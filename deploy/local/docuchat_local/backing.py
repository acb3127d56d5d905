"""Real PostgreSQL, Redis and RabbitMQ as child processes, with a folder, ports and secrets of their own.

async with backing_servers(folder, fast=True) as servers:
    await asyncpg.connect(servers.postgres_admin_url)
    await asyncio.to_thread(servers.rabbitmq.restart)
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from docuchat_local.accounts import claim_folder, server_account
from docuchat_local.packages import ensure_programs
from docuchat_local.processes import Warden
from docuchat_local.servers import Site, make_postgres, make_rabbitmq, make_redis
from docuchat_local.state import Ports, Secrets
from docuchat_local.supervised import Server


@dataclass(frozen=True, slots=True)
class BackingServers:
    """Addresses of running servers; with the servers themselves, for tests that break them."""

    postgres: Server
    redis: Server
    rabbitmq: Server

    @property
    def all(self) -> tuple[Server, ...]:
        return self.rabbitmq, self.postgres, self.redis

    @property
    def postgres_admin_url(self) -> str:
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        return self.redis.url

    @property
    def rabbitmq_url(self) -> str:
        return self.rabbitmq.url

    def start(self) -> None:
        """Start all three at once; returns when each accepts clients."""
        with ThreadPoolExecutor(len(self.all)) as threads:
            try:
                for started in as_completed([threads.submit(server.start) for server in self.all]):
                    started.result()
            except BaseException:
                for server in self.all:
                    server.kill()  # the threads that wait for them end with them
                raise


def make_servers(
    folder: Path,
    warden: Warden,
    ports: Ports,
    secrets: Secrets,
    *,
    fast: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> BackingServers:
    """Prepare the three servers below `folder`, not yet started."""
    logs = folder / "logs"
    account = server_account()
    programs = ensure_programs(say)
    logs.mkdir(parents=True, exist_ok=True)
    site = Site(
        folder=claim_folder(folder / "servers", secrets.get("data_id"), account),
        logs=logs,
        warden=warden,
        ports=ports,
        secrets=secrets,
        account=account,
        fast=fast,
        say=say,
    )
    return BackingServers(make_postgres(site), make_redis(site, programs), make_rabbitmq(site, programs))


@contextmanager
def told_interruption(say: Callable[[str], None]) -> Iterator[None]:
    """Say at once that an interruption was heard; what follows ends what was started, and takes its time."""
    try:
        yield
    except KeyboardInterrupt:
        say("stopping what was started")
        raise


@contextmanager
def started_servers(
    folder: Path,
    *,
    fast: bool = False,
    say: Callable[[str], None] = lambda _: None,
    on_lost: Callable[[], None] = lambda: None,
) -> Iterator[BackingServers]:
    """Run the three servers with their data below `folder`; nothing is left running on leaving, however it happens.

    `fast` gives up durability over a power cut (no fsync), for tests; a killed server still recovers.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack, told_interruption(say):
        warden = stack.enter_context(Warden(folder / "lock"))
        warden.on_lost = on_lost
        ports, secrets = Ports(folder / "ports.json"), Secrets(folder / "secrets.json")
        servers = make_servers(folder, warden, ports, secrets, fast=fast, say=say)
        servers.start()
        try:
            yield servers
        finally:
            for server in servers.all:
                server.leave_down()


@asynccontextmanager
async def backing_servers(
    folder: Path, *, fast: bool = False, say: Callable[[str], None] = lambda _: None
) -> AsyncIterator[BackingServers]:
    """Do as `started_servers`, without blocking the event loop."""
    context = started_servers(folder, fast=fast, say=say)
    servers = await asyncio.to_thread(context.__enter__)
    try:
        yield servers
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
