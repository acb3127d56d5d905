"""The blob store: a local folder or an S3 bucket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.ids import DocumentId, TenantId
from docuchat_ingest.pipeline.errors import BlobMissing

logger = structlog.get_logger()

_CHUNK_BYTES = 1024 * 1024


class ObstoreBlobs:
    """A local folder (`file:///…`) or an S3 bucket (`s3://bucket/prefix`), with one API."""

    def __init__(self, url: str) -> None:
        if url.startswith("file://"):
            Path(unquote(urlsplit(url).path)).mkdir(parents=True, exist_ok=True)
        self._store: ObjectStore = from_url(url)

    async def fetch(self, key: str, target: Path, *, max_bytes: int) -> bool:
        async with _translated():
            result = await obstore.get_async(self._store, key)
            if result.meta["size"] > max_bytes:
                return False
            with await asyncio.to_thread(target.open, "wb") as file:
                async for chunk in result.stream(min_chunk_size=_CHUNK_BYTES):
                    await asyncio.to_thread(file.write, chunk)
        return True

    async def delete_document(self, tenant_id: TenantId, document_id: DocumentId) -> int:
        deleted = 0
        async with _translated():
            async for batch in obstore.list(self._store, f"tenants/{tenant_id}/documents/{document_id}"):
                for entry in batch:
                    with suppress(FileNotFoundError):
                        await obstore.delete_async(self._store, entry["path"])
                        deleted += 1
        return deleted

    async def check(self) -> None:
        """Raise UpstreamUnavailable when the store cannot be asked (readiness)."""
        with suppress(BlobMissing):
            async with _translated():
                await obstore.head_async(self._store, "readiness")


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BlobMissing from error
    except (BaseError, OSError) as error:
        logger.warning("blob_store.failed", error=type(error).__name__)
        raise UpstreamUnavailable("The blob store does not answer; try again shortly.") from error
