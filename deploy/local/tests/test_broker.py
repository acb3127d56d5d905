"""Our broker: data that belong to their place, and what is declared whenever it starts."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from docuchat_local.backing import backing_servers
from docuchat_local.broker import take_away_moved_data
from docuchat_setup.topology import StreamLimits, declare_topology


def test_data_of_the_broker_are_removed_when_they_were_made_at_another_path(tmp_path: Path) -> None:
    folder = tmp_path / "servers" / "rabbitmq"
    assert not take_away_moved_data(folder)
    (folder / "data").mkdir(parents=True)
    configuration = folder / "rabbitmq.conf"
    configuration.write_text(f"log.file = false\nload_definitions = {folder}/definitions.json\n")
    assert not take_away_moved_data(folder)
    assert (folder / "data").exists()

    configuration.write_text(f"load_definitions = /elsewhere{folder}/definitions.json\n")
    assert take_away_moved_data(folder)
    assert list(folder.parent.iterdir()) == []


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
    assert said == []
    before = written(original)
    shutil.copytree(original, copy)

    async with backing_servers(copy, fast=True, say=said.append) as servers:
        assert await declare_topology(servers.rabbitmq_url, stream=StreamLimits()) == []
        connection = await asyncpg.connect(servers.postgres_admin_url)
        await connection.execute("TABLE kept")
        await connection.close()
    assert [line for line in said if "the usage stream begins anew" in line]
    assert written(original) == before


def written(folder: Path) -> dict[Path, int]:
    """When each file below the folder was written last."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
