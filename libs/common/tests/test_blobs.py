"""The blob store keeps what it was given whole, leaves nothing behind, and says when it has no room."""

import hashlib
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from docuchat_common.blobs import BlobCorrupt, BlobMissing, Blobs, BlobTooLarge, RangeUnsatisfiable
from docuchat_common.errors import StorageFull
from docuchat_testkit.eventually import eventually

CONTENT = bytes(range(256)) * 8192 * 3  # 6 MB: more than one part
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "a store"


@pytest.fixture
def blobs(root: Path) -> Blobs:
    return Blobs(root.as_uri())


def everything(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


async def put(blobs: Blobs, key: str, content: bytes = b"content") -> None:
    writer = blobs.open_writer(key)
    await writer.write(content)
    await writer.commit()


async def read(blobs: Blobs, key: str, start: int | None = None, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in (await blobs.open(key, start, end)).chunks])


async def test_what_is_written_in_pieces_is_hashed_and_read_back_whole_and_in_ranges(blobs: Blobs) -> None:
    writer = blobs.open_writer("tenants/1/a")
    for start in range(0, len(CONTENT), 100_000):
        await writer.write(CONTENT[start : start + 100_000])
    with pytest.raises(BlobMissing):
        await blobs.open("tenants/1/a")
    written = await writer.commit()
    assert (written.key, written.size, written.sha256) == ("tenants/1/a", len(CONTENT), SHA256)
    assert await read(blobs, "tenants/1/a") == CONTENT
    assert await read(blobs, "tenants/1/a", 10, 20) == CONTENT[10:20]
    assert await read(blobs, "tenants/1/a", -5) == CONTENT[-5:]
    with pytest.raises(RangeUnsatisfiable):
        await blobs.open("tenants/1/a", len(CONTENT))


@pytest.mark.parametrize("pieces", [0, 1, 60])
async def test_an_aborted_writer_leaves_nothing(blobs: Blobs, root: Path, pieces: int) -> None:
    writer = blobs.open_writer("uploads/a")
    for _ in range(pieces):
        await writer.write(CONTENT[:200_000])
    await writer.abort()
    assert [name for name in everything(root) if (root / name).is_file()] == []


async def test_a_committed_writer_can_still_be_aborted(blobs: Blobs, root: Path) -> None:
    writer = blobs.open_writer("uploads/a")
    await writer.write(b"x")
    await writer.commit()
    await writer.abort()
    assert everything(root) == []


async def test_a_fetched_file_is_checked_against_its_size_and_hash(blobs: Blobs, tmp_path: Path) -> None:
    await put(blobs, "a", CONTENT)
    target = tmp_path / "fetched"
    await blobs.fetch("a", target, max_bytes=len(CONTENT), sha256=SHA256)
    assert target.read_bytes() == CONTENT
    with pytest.raises(BlobTooLarge):
        await blobs.fetch("a", target, max_bytes=len(CONTENT) - 1)
    await put(blobs, "a", CONTENT[:-1] + b"!")
    with pytest.raises(BlobCorrupt):
        await blobs.fetch("a", target, max_bytes=len(CONTENT), sha256=SHA256)
    with pytest.raises(BlobMissing):
        await blobs.fetch("b", target, max_bytes=1)


async def test_deleting_takes_the_empty_folders_along_and_nothing_else(blobs: Blobs, root: Path) -> None:
    for key in ("tenants/1/documents/a/x", "tenants/1/documents/a/y", "tenants/1/documents/ab/x", "tenants/2/z"):
        await put(blobs, key)
    (root / "tenants/1/documents/a/left/empty").mkdir(parents=True)
    assert await blobs.delete_prefix("tenants/1/documents/a") == 2
    assert everything(root) == [
        "tenants",
        "tenants/1",
        "tenants/1/documents",
        "tenants/1/documents/ab",
        "tenants/1/documents/ab/x",
        "tenants/2",
        "tenants/2/z",
    ]
    await blobs.delete("tenants/1/documents/ab/x")
    assert everything(root) == ["tenants", "tenants/2", "tenants/2/z"]
    (root / "tenants/2/documents/old").mkdir(parents=True)
    assert await blobs.delete_prefix("tenants/2/documents/old") == 0
    await blobs.delete("tenants/2/z")
    await blobs.delete("tenants/2/z")
    assert await blobs.delete_prefix("tenants") == 0
    assert everything(root) == []


async def test_what_a_killed_writer_left_goes_with_its_folder(root: Path, blobs: Blobs) -> None:
    await put(blobs, "tenants/2/z")
    killed = blobs.open_writer("tenants/1/exports/a/1.zip")
    await killed.write(CONTENT)
    await eventually(lambda: "tenants/1/exports/a/1.zip#1" in everything(root))
    assert await blobs.delete_prefix("tenants/1") == 0
    assert everything(root) == ["tenants", "tenants/2", "tenants/2/z"]
    await killed.abort()


async def test_a_moved_blob_is_listed_at_its_new_place_only(blobs: Blobs) -> None:
    await put(blobs, "uploads/a", b"12345")
    await blobs.move("uploads/a", "tenants/1/a")
    assert [(entry.key, entry.size) async for entry in blobs.list("")] == [("tenants/1/a", 5)]
    with pytest.raises(BlobMissing):
        await blobs.move("uploads/a", "tenants/1/b")


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_that_takes_no_more_is_told_and_leaves_no_part(blobs: Blobs, root: Path) -> None:
    writer = blobs.open_writer("uploads/a")
    with no_file_larger_than(2**20), pytest.raises(StorageFull):
        for start in range(0, len(CONTENT), 100_000):
            await writer.write(CONTENT[start : start + 100_000])
        await writer.commit()
    await writer.abort()
    assert [name for name in everything(root) if (root / name).is_file()] == []


async def test_a_reserve_is_left_free_and_readiness_tells_while_reading_and_deleting_go_on(
    blobs: Blobs, root: Path
) -> None:
    await put(blobs, "a")
    await blobs.check()
    full = Blobs(root.as_uri(), reserve_bytes=2**60)
    with pytest.raises(StorageFull):
        await full.check()
    writer = full.open_writer("b")
    with pytest.raises(StorageFull):
        await writer.write(b"x")
    await writer.abort()
    assert await read(full, "a") == b"content"
    await full.delete("a")
    assert everything(root) == []
