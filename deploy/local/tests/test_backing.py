"""Real servers, started and broken."""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aio_pika
import asyncpg
import pytest
from redis.asyncio import Redis

from docuchat_local.accounts import stand_in_of
from docuchat_local.backing import backing_servers, started_servers
from docuchat_local.errors import AlreadyRunning
from docuchat_local.logs import rotate
from docuchat_local.processes import ProcessSpec, Warden
from docuchat_local.servers import shared_buffers
from docuchat_local.supervised import Server
from docuchat_local.warden import descendants
from docuchat_testkit.eventually import eventually, eventually_sync

SUPERVISOR = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it, which is inherited
from docuchat_local.accounts import stand_in_of
from docuchat_local.backing import started_servers
with started_servers(Path(sys.argv[1]), fast=True) as servers:
    print(servers.rabbitmq_url, flush=True)
    time.sleep(600)
"""


def processes_of(folder: Path) -> list[str]:
    """Command lines of everything that runs from `folder`: by its arguments, its working folder or its environment."""
    places = (str(folder), str(stand_in_of(folder / "servers")))
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                traces = (
                    command,
                    str((entry / "cwd").readlink()),
                    (entry / "environ").read_bytes().decode(errors="replace"),
                )
            except OSError:
                continue
            if any(place in trace for place in places for trace in traces):
                found.append(command)
    return found


async def take_one(url: str, queue: str) -> bytes:
    async with await aio_pika.connect(url) as broker:
        channel = await broker.channel()
        message = await (await channel.get_queue(queue)).get(timeout=10)
        assert message is not None
        await message.ack()
        return message.body


@pytest.mark.full
async def test_servers_accept_clients_and_come_back_after_being_killed(tmp_path):
    async with backing_servers(tmp_path, fast=True) as servers:
        connection = await asyncpg.connect(servers.postgres_admin_url)
        await connection.execute("CREATE EXTENSION vector")
        await connection.execute("CREATE TABLE kept (embedding vector(3))")
        await connection.execute("INSERT INTO kept VALUES ('[1,2,3]')")
        await connection.close()
        async with Redis.from_url(servers.redis_url) as redis:
            assert await redis.ping()
        async with await aio_pika.connect(servers.rabbitmq_url) as broker:
            channel = await broker.channel()
            queue = await channel.declare_queue("kept", durable=True)
            message = aio_pika.Message(b"kept", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, queue.name)
        # RabbitMQ 3.10 writes down a moment later what it was just told to declare, and promises it from then on; an
        # orderly stop is the one event by which anybody can tell that it has
        await asyncio.to_thread(servers.rabbitmq.stop)
        await asyncio.to_thread(servers.rabbitmq.start)

        for server in (servers.postgres, servers.redis, servers.rabbitmq):
            pid = server.process.pid
            await asyncio.to_thread(server.kill)
            assert not server.process.is_running
            await asyncio.to_thread(server.start)
            assert server.process.pid != pid

        connection = await asyncpg.connect(servers.postgres_admin_url)
        assert await connection.fetchval("SELECT count(*) FROM kept") == 1
        await connection.close()
        assert await eventually(lambda: take_one(servers.rabbitmq_url, "kept"), timeout=40) == b"kept"
    assert processes_of(tmp_path) == []


@pytest.mark.full
def test_a_folder_in_use_is_refused_and_ports_and_data_outlive_a_stop(tmp_path):
    with started_servers(tmp_path, fast=True) as servers:
        url = servers.postgres_admin_url
        with pytest.raises(AlreadyRunning, match=str(os.getpid())), started_servers(tmp_path, fast=True):
            pass
    remembered = json.loads((tmp_path / "ports.json").read_text())
    with started_servers(tmp_path, fast=True) as servers:
        assert servers.postgres_admin_url == url
    assert json.loads((tmp_path / "ports.json").read_text()) == remembered


@contextmanager
def supervisor_of(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A supervisor in a process of its own, whose servers serve."""
    command = [sys.executable, "-c", SUPERVISOR, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        try:
            assert supervisor.stdout is not None
            assert supervisor.stdout.readline().startswith("amqp://")
            yield supervisor
        finally:
            supervisor.kill()


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, *(pytest.param(gentle, marks=pytest.mark.full) for gentle in (signal.SIGTERM, signal.SIGINT))],
)
def test_nothing_outlives_the_supervisor(tmp_path, number):
    with supervisor_of(tmp_path) as supervisor:
        names = " ".join(processes_of(tmp_path))
        assert all(name in names for name in ("postgres", "redis-server", "beam", "epmd", "warden"))
        supervisor.send_signal(number)
        supervisor.wait()
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the warden holds it until it has seen the last process end
    assert processes_of(tmp_path) == []


def test_nothing_outlives_the_warden(tmp_path):
    with supervisor_of(tmp_path) as supervisor:
        for child in Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        eventually_sync(lambda: len(processes_of(tmp_path)) == 1)  # the supervisor itself
    assert processes_of(tmp_path) == []


@pytest.mark.full
async def test_a_server_that_crashes_is_started_again_and_the_terminal_is_told(tmp_path):
    said: list[str] = []
    async with backing_servers(tmp_path, fast=True, say=said.append) as servers:
        for server in servers.all:
            crashed = server.pid
            assert crashed is not None
            os.kill(crashed, signal.SIGKILL)

            def is_back(server: Server = server, crashed: int = crashed) -> None:
                assert server.pid not in {None, crashed}
                assert server.is_ready()

            await eventually(is_back, timeout=40)
            assert [line for line in said if line.startswith(f"{server.name} ended with -9 ({tmp_path}/logs/")]
        connection = await asyncpg.connect(servers.postgres_admin_url)
        await connection.close()


@pytest.mark.full
def test_a_supervisor_whose_warden_was_killed_says_so_and_ends(tmp_path):
    command = [sys.executable, "-m", "docuchat_local", "servers", "--folder", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as supervisor:
        try:
            assert supervisor.stdout is not None
            assert supervisor.stderr is not None
            while not supervisor.stdout.readline().startswith("RABBITMQ_URL="):
                assert supervisor.poll() is None
            for child in Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
            assert supervisor.wait(30) == 1
            assert "start again" in supervisor.stderr.read()
        finally:
            supervisor.kill()
    eventually_sync(lambda: processes_of(tmp_path) == [])


def test_an_interrupted_start_says_at_once_that_it_stops_and_leaves_nothing(tmp_path):
    command = [sys.executable, "-m", "docuchat_local", "servers", "--folder", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stderr is not None
        assert "PostgreSQL's data folder" in supervisor.stdout.readline()
        supervisor.send_signal(signal.SIGINT)
        assert supervisor.stdout.readline().startswith("... stopping what was started")
        assert supervisor.wait() == 130
        assert supervisor.stderr.read() == "interrupted; nothing that was started is left running\n"
    eventually_sync(lambda: processes_of(tmp_path) == [])


def test_memory_decides_about_the_database_cache_within_bounds():
    assert [shared_buffers(megabytes) for megabytes in (256, 2_048, 4_096, 65_536)] == [128, 512, 1_024, 2_048]


def test_a_log_that_grew_large_is_set_aside_and_its_writer_goes_on(tmp_path):
    log = tmp_path / "chat.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 100)
        assert rotate(log, largest=300)
        assert not rotate(log, largest=300)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert (tmp_path / "chat.log.1").read_bytes() == b"old\n" * 100


def test_who_is_killed_is_gone_with_all_it_had_started(tmp_path):
    many = "for n in $(seq 200); do sleep 600 & done; wait"
    with Warden(tmp_path / "lock") as warden:
        process = warden.add(ProcessSpec("many", ["sh", "-c", many], {}, tmp_path, tmp_path / "many.log"))
        process.start()
        assert process.pid is not None
        family = eventually_sync(lambda: found if len(found := descendants(process.pid)) == 200 else None)
        process.kill()
        states = [Path(f"/proc/{pid}/stat") for pid in family]
        assert not [path for path in states if path.exists() and path.read_text().split()[2] not in "ZX"]


def test_who_starts_others_all_the_time_is_gone_with_all_of_them(tmp_path):
    mark = f"600.{uuid.uuid4().int}"
    storm = f"while true; do setsid sleep {mark} & sleep 0.005; done"

    def left() -> list[str]:
        found = [path for path in Path("/proc").glob("[0-9]*/cmdline") if path.parent.exists()]
        return [path.parent.name for path in found if mark.encode() in _read(path)]

    with Warden(tmp_path / "lock") as warden:
        process = warden.add(ProcessSpec("storm", ["sh", "-c", storm], {}, tmp_path, tmp_path / "storm.log"))
        for _ in range(5):
            process.start()
            eventually_sync(lambda: len(left()) > 10)
            process.kill()
            assert left() == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
