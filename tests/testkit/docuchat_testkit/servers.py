"""Real PostgreSQL, Redis and RabbitMQ for a test session: given, in containers, or as child processes.

`python -m docuchat_testkit.servers` starts a set, prints the variables that make pytest use it, and holds it until
interrupted: sessions that follow then start at once.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import httpx2

from docuchat_common.messaging.topology import SERVICES
from docuchat_testkit.identity import SERVICE_PASSWORD
from docuchat_testkit.virtual_hosts import (
    ControlledVirtualHosts,
    ManagedVirtualHosts,
    RemoteVirtualHosts,
    VirtualHosts,
    serve_virtual_hosts,
)

POSTGRES_URL = "DOCUCHAT_TEST_POSTGRES_URL"
REDIS_URL = "DOCUCHAT_TEST_REDIS_URL"
RABBITMQ_URL = "DOCUCHAT_TEST_RABBITMQ_URL"
RABBITMQ_MANAGEMENT_URL = "DOCUCHAT_TEST_RABBITMQ_MANAGEMENT_URL"
RABBITMQ_CONTROL = "DOCUCHAT_TEST_RABBITMQ_CONTROL"
_IMAGES = {"postgres": "pgvector/pgvector:pg18", "redis": "redis:8", "rabbitmq": "rabbitmq:4-management"}
_VHOST_BATCH = 4
_IN_MEMORY = Path("/dev/shm")
_PREFIX = "docuchat-tests-"
_ABANDONED_SECONDS = 60
_ROOM_BYTES = 4 * 2**30
"""What the servers of a session may come to, WAL and the databases of its tests together."""


class Breakable(Protocol):
    """A server that a test may break. Each call returns when it has happened; `start` when the server serves."""

    def start(self) -> None: ...

    def kill(self) -> None: ...

    def stop(self) -> None: ...

    def restart(self) -> None: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


@dataclass(slots=True)
class TestServers:
    """A running set. The three servers are None when they were given, and so must not be broken."""

    __test__ = False

    source: str
    postgres_url: str
    redis_url: str
    rabbitmq_url: str
    virtual_hosts: VirtualHosts | None = None
    postgres: Breakable | None = None
    redis: Breakable | None = None
    rabbitmq: Breakable | None = None
    _spare_hosts: list[str] = field(default_factory=list)
    _used_hosts: list[str] = field(default_factory=list)

    def new_rabbitmq_url(self) -> str:
        """The address of an empty virtual host; of the given one when virtual hosts cannot be made."""
        if self.virtual_hosts is None:
            return self.rabbitmq_url
        if not self._spare_hosts:
            # ask for several at once: each call takes its time. What was used goes first: a broker that keeps the hosts
            # of a whole session runs out of memory, and then takes no message.
            self._remove_used()
            names = [f"test-{uuid.uuid4().hex[:10]}" for _ in range(_VHOST_BATCH)]
            self.virtual_hosts.add(names)
            self._spare_hosts = names
        return urlunsplit(urlsplit(self.rabbitmq_url)._replace(path="/" + quote(self._spare_hosts.pop(), safe="")))

    def drop_rabbitmq_url(self, url: str) -> None:
        """Give the virtual host of `new_rabbitmq_url` back; it is removed with others, before the next are made."""
        if self.virtual_hosts is not None:
            self._used_hosts.append(unquote(urlsplit(url).path[1:]))

    def close(self) -> None:
        """Remove the virtual hosts that are left, where the server stays."""
        if self.source != "local":
            self._used_hosts += self._spare_hosts
            self._remove_used()

    def _remove_used(self) -> None:
        if self.virtual_hosts is not None and self._used_hosts:
            self.virtual_hosts.remove(self._used_hosts)
            self._used_hosts = []


def servers_given(environment: Mapping[str, str] = os.environ) -> TestServers | None:
    """The servers that the environment names; None when it does not name all three."""
    urls = [environment.get(name) for name in (POSTGRES_URL, REDIS_URL, RABBITMQ_URL)]
    postgres, redis, rabbitmq = urls
    if not (postgres and redis and rabbitmq):
        if any(urls):
            raise RuntimeError(f"Set all of {POSTGRES_URL}, {REDIS_URL} and {RABBITMQ_URL}, or none.")
        return None
    hosts: VirtualHosts | None = None
    parts = urlsplit(rabbitmq)
    if management := environment.get(RABBITMQ_MANAGEMENT_URL):
        hosts = ManagedVirtualHosts(management, unquote(parts.username or "guest"), unquote(parts.password or "guest"))
    elif control := environment.get(RABBITMQ_CONTROL):
        hosts = RemoteVirtualHosts(control)
    return TestServers("environment", postgres, redis, rabbitmq, hosts)


@contextmanager
def running_servers() -> Iterator[TestServers]:
    """Given servers, else containers, else child processes; what was started is stopped on leaving."""
    with ExitStack() as stack:
        servers = (
            servers_given()
            or _enter_if(stack, _containers_possible(), _container_servers)
            or stack.enter_context(local_servers())
        )
        stack.callback(servers.close)
        yield servers


def _enter_if(stack: ExitStack, possible: bool, context: Callable[[], Any]) -> TestServers | None:
    return stack.enter_context(context()) if possible else None


def has_room(folder: Path, needed: int = _ROOM_BYTES) -> bool:
    """Whether a folder is there, may be written to, and has so many bytes left."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize >= needed


def remove_abandoned(below: Path) -> None:
    """Remove what sessions left that were killed: their folders, whose locks nobody holds. Memory is not to fill up."""
    for lock in below.glob(f"{_PREFIX}*/lock"):
        with suppress(OSError), lock.open("rb") as held:
            made = lock.stat()
            # a lock that was made just now may be about to be taken
            if made.st_uid == os.geteuid() and time.time() - made.st_mtime > _ABANDONED_SECONDS:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)


@contextmanager
def local_servers() -> Iterator[TestServers]:
    """A set of child processes without fsync; their data is in memory where there is room, else in a temporary folder.

    Cloning a database of 12 MB takes 20 ms in memory; on a disk that is busy with other work it took 2 s.
    """
    from docuchat_local.accounts import remove_stand_in
    from docuchat_local.backing import started_servers

    remove_abandoned(_IN_MEMORY)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_IN_MEMORY if has_room(_IN_MEMORY) else None))
    folder.chmod(0o711)
    # the broker sets its logins again at each start
    (folder / "secrets.json").write_text(json.dumps({f"broker_{service}": SERVICE_PASSWORD for service in SERVICES}))
    try:
        with started_servers(folder, fast=True) as backing:
            spec = backing.rabbitmq.process.spec
            hosts = ControlledVirtualHosts(
                program=str(Path(spec.argv[0]).resolve().with_name("rabbitmqctl")),
                environment=spec.environment,
                user=urlsplit(backing.rabbitmq_url).username or "",
                password=unquote(urlsplit(backing.rabbitmq_url).password or ""),
                account=(spec.account.uid, spec.account.gid) if spec.account else None,
            )
            yield TestServers(
                "local",
                backing.postgres_admin_url,
                backing.redis_url,
                backing.rabbitmq_url,
                hosts,
                backing.postgres,
                backing.redis,
                backing.rabbitmq,
            )
    finally:
        remove_stand_in(folder / "servers")
        shutil.rmtree(folder, ignore_errors=True)


def _image(name: str) -> str:
    return os.environ.get(f"DOCUCHAT_TEST_{name.upper()}_IMAGE", _IMAGES[name])


def _containers_possible() -> bool:
    """Whether a Docker engine answers and has the three images; none is pulled."""
    if os.environ.get("DOCUCHAT_TEST_CONTAINERS") == "0":
        return False
    if not (os.environ.get("DOCKER_HOST") or Path("/var/run/docker.sock").exists()):
        return False
    docker: Any = import_module("docker")  # has no type information
    try:
        client = docker.from_env(timeout=5)
        try:
            client.ping()
            for name in _IMAGES:
                client.images.get(_image(name))
        finally:
            client.close()
    except docker.errors.DockerException:
        return False
    return True


def _has_image(image: str) -> bool:
    docker: Any = import_module("docker")
    client = docker.from_env(timeout=5)
    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        return False
    finally:
        client.close()
    return True


@dataclass(frozen=True, slots=True)
class _ContainerServer:
    """A container as a server that a test may break; its port is fixed, so that it returns at the same address."""

    container: Any
    serves: Callable[[], object]

    def start(self) -> None:
        from docuchat_testkit.eventually import eventually_sync

        self.container.get_wrapped_container().start()
        eventually_sync(self.serves, timeout=60)

    def kill(self) -> None:
        self.container.get_wrapped_container().kill()

    def stop(self) -> None:
        self.container.get_wrapped_container().stop()

    def restart(self) -> None:
        self.kill()
        self.start()

    def freeze(self) -> None:
        self.container.get_wrapped_container().pause()

    def thaw(self) -> None:
        self.container.get_wrapped_container().unpause()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _container_servers() -> Iterator[TestServers]:
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    from docuchat_testkit.eventually import eventually_sync

    # its reaper removes what a killed session leaves, where its image is there; the fixtures remove the rest themselves
    testcontainers_config.ryuk_disabled = not _has_image(testcontainers_config.ryuk_image)
    host, password = "127.0.0.1", "docuchat-tests"
    ports = {name: _free_port() for name in ("postgres", "redis", "rabbitmq", "management")}
    postgres = (
        DockerContainer(_image("postgres"))
        .with_env("POSTGRES_PASSWORD", password)
        .with_command("postgres -c fsync=off -c full_page_writes=off -c max_connections=200")
        .with_bind_ports(5432, ports["postgres"])
    )
    redis = DockerContainer(_image("redis")).with_bind_ports(6379, ports["redis"])
    rabbitmq = (
        DockerContainer(_image("rabbitmq"))
        .with_env("RABBITMQ_DEFAULT_USER", "docuchat")
        .with_env("RABBITMQ_DEFAULT_PASS", password)
        .with_bind_ports(5672, ports["rabbitmq"])
        .with_bind_ports(15672, ports["management"])
    )
    management = f"http://{host}:{ports['management']}"
    urls = {
        "postgres": f"postgresql://postgres:{password}@{host}:{ports['postgres']}/postgres",
        "redis": f"redis://{host}:{ports['redis']}/0",
        "rabbitmq": f"amqp://docuchat:{password}@{host}:{ports['rabbitmq']}/",
    }

    def postgres_serves() -> None:
        import asyncpg

        from docuchat_testkit.databases import run_blocking

        async def select() -> None:
            connection = await asyncpg.connect(urls["postgres"], timeout=5)
            await connection.close()

        run_blocking(select())

    def redis_serves() -> None:
        with socket.create_connection((host, ports["redis"]), 2) as connection:
            connection.sendall(b"PING\r\n")
            assert b"PONG" in connection.recv(64)

    def rabbitmq_serves() -> None:
        answer = httpx2.get(
            f"{management}/api/health/checks/port-listener/5672", auth=("docuchat", password), timeout=5
        )
        answer.raise_for_status()

    with postgres, redis, rabbitmq:
        for serves in (postgres_serves, redis_serves, rabbitmq_serves):
            eventually_sync(serves, timeout=90)
        yield TestServers(
            "containers",
            urls["postgres"],
            urls["redis"],
            urls["rabbitmq"],
            ManagedVirtualHosts(management, "docuchat", password),
            _ContainerServer(postgres, postgres_serves),
            _ContainerServer(redis, redis_serves),
            _ContainerServer(rabbitmq, rabbitmq_serves),
        )


def main() -> None:
    """Hold a set of servers; print the variables for pytest."""
    argparse.ArgumentParser(prog="python -m docuchat_testkit.servers", description=__doc__).parse_args()
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with running_servers() as servers, tempfile.TemporaryDirectory() as folder:
        lines = {POSTGRES_URL: servers.postgres_url, REDIS_URL: servers.redis_url, RABBITMQ_URL: servers.rabbitmq_url}
        if servers.virtual_hosts is not None:
            path = Path(folder) / "virtual-hosts.sock"
            serve_virtual_hosts(path, servers.virtual_hosts)
            lines[RABBITMQ_CONTROL] = str(path)
        sys.stdout.write("".join(f"export {name}='{value}'\n" for name, value in lines.items()))
        sys.stdout.flush()
        stopping.wait()


if __name__ == "__main__":
    main()
