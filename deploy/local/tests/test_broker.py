"""Our broker: data that belong to their place, and what is declared whenever it starts."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import asyncpg
import pytest

from docuchat_common.messaging.topology import SERVICES, queues_of
from docuchat_local.backing import backing_servers
from docuchat_local.broker import take_away_moved_data
from docuchat_local.errors import BadEnvironment
from docuchat_local.processes import ProcessSpec, Warden
from docuchat_local.product import running_product
from docuchat_local.supervised import Server
from docuchat_setup.topology import StreamLimits, declare_topology
from docuchat_testkit.eventually import eventually, eventually_sync


def test_data_of_the_broker_are_removed_when_they_were_made_at_another_path(tmp_path: Path) -> None:
    folder = tmp_path / "servers" / "rabbitmq"
    assert not take_away_moved_data(folder)
    (folder / "data").mkdir(parents=True)
    configuration = folder / "rabbitmq.conf"
    configuration.write_text(f"log.file = false\nload_definitions = {folder}/definitions.json\n")
    assert not take_away_moved_data(folder)
    configuration.write_text("")  # the disk was full
    assert not take_away_moved_data(folder)
    assert (folder / "data").exists()

    configuration.write_text(f"load_definitions = /elsewhere{folder}/definitions.json\n")
    assert take_away_moved_data(folder)
    assert list(folder.parent.iterdir()) == []


def test_a_server_that_came_back_is_made_ready_again_until_that_succeeds(tmp_path: Path) -> None:
    made: list[int | None] = []
    said: list[str] = []

    def make_ready() -> None:
        made.append(server.pid)
        if len(made) == 2:
            raise BadEnvironment("the broker is busy")

    with Warden(tmp_path / "lock") as warden:
        process = warden.add(ProcessSpec("broker", ["sleep", "600"], {}, tmp_path, tmp_path / "broker.log"))
        server = Server("broker", "", process, said.append, _serves=lambda: True, make_ready=make_ready)
        server.start()
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        eventually_sync(lambda: len(made) == 3)
        assert made == [first, server.pid, server.pid]
        assert server.pid != first
        assert "broker: the broker is busy; trying again" in said
        server.leave_down()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account may enter, so that servers keep their data in it, whoever runs the test."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        Path(place).chmod(0o755)
        yield Path(place)


@pytest.mark.full
async def test_a_copied_folder_starts_and_leaves_the_original_alone(open_folder: Path) -> None:
    original, copy = open_folder / "original", open_folder / "copy"
    said: list[str] = []
    async with backing_servers(original, fast=True, say=said.append) as servers:
        connection = await asyncpg.connect(servers.postgres_admin_url)
        await connection.execute("CREATE TABLE kept ()")
        await connection.close()
        await declare_topology(servers.rabbitmq_url, stream=StreamLimits())
    assert not [line for line in said if "usage stream" in line]
    before = written(original)
    shutil.copytree(original, copy)

    async with backing_servers(copy, fast=True, say=said.append) as servers:
        assert await declare_topology(servers.rabbitmq_url, stream=StreamLimits()) == []
        connection = await asyncpg.connect(servers.postgres_admin_url)
        await connection.execute("TABLE kept")
        await connection.close()
    assert [line for line in said if "the usage stream begins anew" in line]
    assert written(original) == before


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_a_broker_that_comes_back_empty_is_declared_and_consumed_again(tmp_path: Path) -> None:
    async with running_product(tmp_path) as product:
        assert product.servers is not None
        broker = product.servers.rabbitmq
        crashed = broker.pid
        assert crashed is not None
        data = broker.process.spec.folder / "data"
        data.rename(data.with_name("lost"))
        os.kill(crashed, signal.SIGKILL)

        async def every_queue_is_consumed() -> None:
            assert broker.pid not in {None, crashed}
            async with await aio_pika.connect(broker.url) as connection, connection.channel() as channel:
                for queue in (queue for service in SERVICES for queue in queues_of(service)):
                    found = await channel.declare_queue(queue.name, passive=True)
                    assert found.declaration_result.consumer_count, queue.name

        await eventually(every_queue_is_consumed, timeout=90)


def written(folder: Path) -> dict[Path, int]:
    """When each file below the folder was written last."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
