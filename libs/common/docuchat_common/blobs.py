"""Files too large for rows and messages: a local folder (`file:///…`) or an S3 bucket (`s3://bucket/prefix`)."""

import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from docuchat_common.errors import NotFound, PayloadTooLarge, RangeUnsatisfiable, StorageFull, UpstreamUnavailable

logger = structlog.get_logger()

_CHUNK_BYTES: Final = 2**20
_PART_BYTES: Final = 5 * 2**20
"""The smallest part that S3 takes in a multipart upload."""
_UNFINISHED: Final = re.compile(r".+#\d+")
"""What a local store calls a blob until it is whole; it lists none of that name."""
_NO_ROOM: Final = ("(os error 28)", "(os error 122)", "(os error 27)")
"""ENOSPC, EDQUOT and EFBIG, as obstore writes them into the text of its errors."""


class BlobMissing(NotFound):
    """The content of this document is not in the blob store."""

    code = "content_missing"


class BlobCorrupt(NotFound):
    """The content of this document in the blob store is not what was uploaded; upload it again."""

    code = "content_corrupt"


class BlobTooLarge(PayloadTooLarge):
    """The content of this document is larger than may be read."""

    code = "content_too_large"


class BlobStoreUnavailable(UpstreamUnavailable):
    """The blob store does not answer; try again shortly."""

    code = "blob_store_unavailable"


@dataclass(frozen=True, slots=True)
class WrittenBlob:
    """What a writer has stored."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BlobContent:
    """A blob on its way out; `start` and `end` (half-open) are the bytes that `chunks` gives of `size`."""

    size: int
    start: int
    end: int
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class BlobEntry:
    """An entry of a listing."""

    key: str
    size: int
    modified_at: datetime


class Blobs:
    """A store of blobs. Trouble with it is BlobStoreUnavailable; no room in it is StorageFull."""

    def __init__(self, url: str, *, reserve_bytes: int = 128 * 2**20) -> None:
        """`reserve_bytes` of a local disk are left free, so that the database on it can still delete."""
        self._root: Path | None = None
        self._reserve = reserve_bytes
        self._store: ObjectStore
        if url.startswith("file://"):
            self._root = Path(unquote(urlsplit(url).path))
            self._store = LocalStore(self._root, mkdir=True, automatic_cleanup=True)
        else:
            self._store = from_url(url)

    def open_writer(self, key: str) -> "BlobWriter":
        """A writer of the blob `key`, which exists once the writer has committed."""
        return BlobWriter(self, self._store, key)

    async def move(self, source: str, target: str) -> None:
        """Rename, replacing `target`. Raises BlobMissing."""
        async with _translated():
            await obstore.rename_async(self._store, source, target)

    async def open(self, key: str, start: int | None = None, end: int | None = None) -> BlobContent:
        """Bytes `start` to `end` (half-open; a negative `start` counts from the end). Raises BlobMissing."""
        async with _translated():
            if start is None and end is None:
                result = await obstore.get_async(self._store, key)
            else:
                size = (await obstore.head_async(self._store, key))["size"]
                first = max(0, size + start) if start is not None and start < 0 else start or 0
                last = min(size, end if end is not None else size)
                if first >= last:
                    raise RangeUnsatisfiable(size=size)
                result = await obstore.get_async(self._store, key, options={"range": (first, last)})
            begin, stop = result.range
            return BlobContent(result.meta["size"], begin, stop, _read(result))

    async def fetch(self, key: str, target: Path, *, max_bytes: int, sha256: str | None = None) -> None:
        """Copy a blob into the file `target`. Raises BlobMissing, BlobTooLarge, and BlobCorrupt for another hash."""
        digest = hashlib.sha256()
        async with _translated():
            result = await obstore.get_async(self._store, key)
            if result.meta["size"] > max_bytes:
                raise BlobTooLarge
            with await asyncio.to_thread(target.open, "wb") as file:

                def keep(chunk: bytes) -> None:
                    digest.update(chunk)
                    file.write(chunk)

                async for chunk in result.stream(min_chunk_size=_CHUNK_BYTES):
                    await asyncio.to_thread(keep, bytes(chunk))
        if sha256 is not None and digest.hexdigest() != sha256:
            logger.error("blob_store.corrupt", key=key)
            raise BlobCorrupt

    async def delete(self, key: str) -> None:
        """Delete, with the folders that are empty then; nothing happens when it is gone already."""
        async with _translated():
            with suppress(FileNotFoundError):
                await obstore.delete_async(self._store, key)

    async def delete_prefix(self, prefix: str) -> int:
        """Delete all blobs below the folder `prefix`, and the folder; returns how many blobs.

        On a local disk also what writers that were killed have left of theirs; a bucket does that by a rule of its own.
        """
        deleted = 0
        async for entry in self.list(prefix):
            await self.delete(entry.key)
            deleted += 1
        if self._root is not None:
            async with _translated():
                await asyncio.to_thread(_remove_folder, self._root, prefix)
        return deleted

    async def list(self, prefix: str) -> AsyncIterator[BlobEntry]:
        """All blobs below the folder `prefix`."""
        async with _translated():
            async for batch in obstore.list(self._store, prefix):
                for entry in batch:
                    yield BlobEntry(entry["path"], entry["size"], entry["last_modified"])

    async def check(self) -> None:
        """Raise BlobStoreUnavailable when the store cannot be asked, StorageFull without room (readiness)."""
        await self.require_room()
        with suppress(BlobMissing):
            async with _translated():
                await obstore.head_async(self._store, "readiness")

    async def require_room(self) -> None:
        """Raise StorageFull when the reserve of a local disk is touched."""
        if self._root is not None:
            async with _translated():
                free = (await asyncio.to_thread(shutil.disk_usage, self._root)).free
            if free < self._reserve:
                raise StorageFull


class BlobWriter:
    """A blob on its way in: it exists, whole, after `commit`, and not at all before or after `abort`.

    It feeds one `put` of the store. An abort ends the put's own source with an error instead of cancelling the put, so
    that the store always hears of it and takes its unfinished parts away.
    """

    def __init__(self, blobs: Blobs, store: ObjectStore, key: str) -> None:
        self._blobs = blobs
        self._store = store
        self._key = key
        self._chunks: asyncio.Queue[bytes | _Aborted | None] = asyncio.Queue(maxsize=4)
        self._digest = hashlib.sha256()
        self._size = 0
        self._checked = -_PART_BYTES
        self._put = asyncio.create_task(self._run())
        self._committed = False

    async def write(self, data: bytes) -> None:
        """Add `data`. Raises StorageFull, BlobStoreUnavailable."""
        if self._size - self._checked >= _PART_BYTES:
            self._checked = self._size
            await self._blobs.require_room()
        self._digest.update(data)
        self._size += len(data)
        await self._feed(data)

    async def commit(self) -> WrittenBlob:
        """Store what was written. Raises StorageFull, BlobStoreUnavailable."""
        await self._feed(None)
        async with _translated():
            await asyncio.shield(self._put)
        self._committed = True
        return WrittenBlob(self._key, self._size, self._digest.hexdigest())

    async def abort(self) -> None:
        """Leave nothing behind."""
        if not self._committed:
            while not self._put.done():
                with suppress(asyncio.QueueEmpty):
                    self._chunks.get_nowait()
                with suppress(asyncio.QueueFull):
                    self._chunks.put_nowait(_Aborted())
                await asyncio.wait({self._put}, timeout=0.05)
            if self._put.exception() is not None:
                return
        # committed, or everything had been written when the abort came
        await self._blobs.delete(self._key)

    async def _feed(self, item: bytes | None) -> None:
        """Hand an item to the put; a put that has failed does not take any more."""
        room = asyncio.ensure_future(self._chunks.put(item))
        try:
            await asyncio.wait({room, self._put}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not room.done():
                room.cancel()
        if self._put.done() and self._put.exception() is not None:
            async with _translated():
                self._put.result()

    async def _source(self) -> AsyncIterator[bytes]:
        while (item := await self._chunks.get()) is not None:
            if isinstance(item, _Aborted):
                raise item
            yield item

    async def _run(self) -> None:
        await obstore.put_async(self._store, self._key, self._source(), chunk_size=_PART_BYTES, max_concurrency=2)


class _Aborted(Exception):
    """The writer was told to give up."""


async def _read(result: "obstore.GetResult") -> AsyncIterator[bytes]:
    async with _translated():
        async for chunk in result.stream(min_chunk_size=256 * 1024):
            yield bytes(chunk)


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BlobMissing from error
    except (BaseError, OSError) as error:
        if any(sign in str(error) for sign in _NO_ROOM) or getattr(error, "errno", None) in (28, 122, 27):
            logger.error("blob_store.full")
            raise StorageFull from error
        logger.warning("blob_store.failed", error=type(error).__name__)
        raise BlobStoreUnavailable from error


def _remove_folder(root: Path, prefix: str) -> None:
    """Remove the folder `prefix` and those in it, as far as they have no blobs, then its parents that are empty."""
    top = root / prefix
    for folder, _, files in os.walk(top, topdown=False):
        for unfinished in filter(_UNFINISHED.fullmatch, files):
            Path(folder, unfinished).unlink(missing_ok=True)
        with suppress(OSError):
            Path(folder).rmdir()
    for parent in top.parents:
        if parent == root or root not in parent.parents:
            return
        try:
            parent.rmdir()
        except FileNotFoundError:
            continue
        except OSError:  # not empty
            return
