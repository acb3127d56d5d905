"""The blob store behind its port: a local folder or S3, through obstore."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from docuchat_gateway.documents.errors import BlobMissing, BlobStoreUnavailable, RangeUnsatisfiable
from docuchat_gateway.documents.ports import BlobContent, StoredBlob

logger = structlog.get_logger()


class ObstoreBlobs:
    """A local folder (`file:///…`) or an S3 bucket (`s3://bucket/prefix`), with one API."""

    PART_BYTES: Final = 5 * 2**20
    """The smallest part that S3 takes in a multipart upload."""

    def __init__(self, url: str) -> None:
        if url.startswith("file://"):
            Path(unquote(urlsplit(url).path)).mkdir(parents=True, exist_ok=True)
        self._store: ObjectStore = from_url(url)

    def open_writer(self, key: str) -> "_ObstoreWriter":
        return _ObstoreWriter(self._store, key)

    async def move(self, source: str, target: str) -> None:
        async with _translated():
            await obstore.rename_async(self._store, source, target)

    async def open(self, key: str, start: int | None, end: int | None) -> BlobContent:
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

    async def delete(self, key: str) -> None:
        async with _translated():
            with suppress(FileNotFoundError):
                await obstore.delete_async(self._store, key)

    async def list_blobs(self, prefix: str) -> AsyncIterator[StoredBlob]:
        async with _translated():
            async for batch in obstore.list(self._store, prefix):
                for entry in batch:
                    yield StoredBlob(entry["path"], entry["last_modified"])

    async def check(self) -> None:
        """Raise BlobStoreUnavailable when the store cannot be asked (readiness)."""
        with suppress(BlobMissing):
            async with _translated():
                await obstore.head_async(self._store, "uploads/readiness")


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
        logger.warning("blob_store.failed", error=type(error).__name__)
        raise BlobStoreUnavailable from error


class _Aborted(Exception):
    """The writer was told to give up."""


class _ObstoreWriter:
    """Feeds one `put`, which is whole or nothing.

    An abort ends the put's own source with an error instead of cancelling the put, so that the store always hears of it
    and takes its unfinished parts away.
    """

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._chunks: asyncio.Queue[bytes | _Aborted | None] = asyncio.Queue(maxsize=4)
        self._store = store
        self._key = key
        self._put = asyncio.create_task(self._run())
        self._committed = False

    async def write(self, data: bytes) -> None:
        await self._feed(data)

    async def commit(self) -> None:
        await self._feed(None)
        async with _translated():
            await asyncio.shield(self._put)
        self._committed = True

    async def abort(self) -> None:
        if self._committed:
            async with _translated():
                with suppress(FileNotFoundError):
                    await obstore.delete_async(self._store, self._key)
            return
        while not self._put.done():
            with suppress(asyncio.QueueEmpty):
                self._chunks.get_nowait()
            with suppress(asyncio.QueueFull):
                self._chunks.put_nowait(_Aborted())
            await asyncio.wait({self._put}, timeout=0.05)
        if self._put.exception() is None:  # everything had been written when the abort came
            async with _translated():
                with suppress(FileNotFoundError):
                    await obstore.delete_async(self._store, self._key)

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
        await obstore.put_async(
            self._store, self._key, self._source(), chunk_size=ObstoreBlobs.PART_BYTES, max_concurrency=2
        )
