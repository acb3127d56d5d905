"""A zip archive that is written as it grows: neither in memory nor on a disk of its own."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Final, Protocol, cast

import orjson

FORMAT: Final = "docuchat-export"
VERSION: Final = 1
MANIFEST: Final = "manifest.json"


class Sink(Protocol):
    """Where the archive goes."""

    async def write(self, data: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file of the archive, as the manifest tells of it."""

    path: str
    size: int
    sha256: str
    rows: int | None


class _Buffer:
    """What the zip wrote and the sink has not; it can only grow, so that the zip never looks back."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


class Archive:
    """Files one after another, then their list."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buffer = _Buffer()
        self._zip = zipfile.ZipFile(cast(IO[bytes], self._buffer), "w", allowZip64=True)
        self._moment = datetime.now(UTC)
        self.written: list[WrittenFile] = []

    async def add(self, path: str, chunks: AsyncIterator[bytes], *, is_packed: bool = False) -> WrittenFile:
        """Add a file; `is_packed` content is not packed again, and has no rows."""
        digest, size, rows = hashlib.sha256(), 0, 0
        info = zipfile.ZipInfo(path, self._moment.timetuple()[:6])
        info.compress_type = zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        with self._zip.open(info, "w", force_zip64=True) as entry:
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                rows += 0 if is_packed else chunk.count(b"\n")
                entry.write(chunk)
                await self._sink.write(self._buffer.take())
        file = WrittenFile(path, size, digest.hexdigest(), None if is_packed else rows)
        self.written.append(file)
        return file

    async def close(self, about: dict[str, object]) -> None:
        """Write the list of files, and the end of the archive."""
        files = [
            {"path": file.path, "size": file.size, "sha256": file.sha256, "rows": file.rows} for file in self.written
        ]
        head = {"format": FORMAT, "version": VERSION, "made_at": self._moment.isoformat(timespec="seconds")}
        manifest = orjson.dumps({**head, **about, "files": files}, option=orjson.OPT_INDENT_2)
        self._zip.writestr(MANIFEST, manifest, zipfile.ZIP_DEFLATED)
        self._zip.close()
        await self._sink.write(self._buffer.take())
