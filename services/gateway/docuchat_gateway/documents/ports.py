"""What the documents need of the world."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from docuchat_common.ids import DocumentId, TenantId
from docuchat_gateway.transaction import GatewayTx


class OpenTransaction(Protocol):
    """A unit of work inside one tenant."""

    def __call__(self, tenant_id: TenantId) -> AbstractAsyncContextManager[GatewayTx]: ...


class BlobWriter(Protocol):
    """A blob on its way in: it exists, whole, after `commit`, and not at all before or after `abort`."""

    async def write(self, data: bytes) -> None: ...

    async def commit(self) -> None: ...

    async def abort(self) -> None: ...


@dataclass(frozen=True, slots=True)
class BlobContent:
    """A blob on its way out; `start` and `end` (half-open) are the bytes that `chunks` gives of `size`."""

    size: int
    start: int
    end: int
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """An entry of a listing."""

    key: str
    modified_at: datetime


class BlobStore(Protocol):
    """Where files are kept. Trouble is BlobStoreUnavailable."""

    def open_writer(self, key: str) -> BlobWriter: ...

    async def move(self, source: str, target: str) -> None:
        """Rename, replacing `target`."""

    async def open(self, key: str, start: int | None, end: int | None) -> BlobContent:
        """Bytes `start` to `end` (half-open; None: from the beginning, to the end). Raises BlobMissing."""

    async def delete(self, key: str) -> None:
        """Delete; nothing happens when it is gone already."""

    def list_blobs(self, prefix: str) -> AsyncIterator[StoredBlob]: ...


@dataclass(frozen=True, slots=True)
class FinishedRequest:
    """What an earlier request with the same key did."""

    fingerprint: str
    document_id: DocumentId
    created: bool


class ClaimedKey(Protocol):
    """An Idempotency-Key: `finished` is what an earlier request did with it, None when this one is the first."""

    finished: FinishedRequest | None

    async def finish(self, outcome: FinishedRequest) -> None: ...


class IdempotencyKeys(Protocol):
    """Keys by which a client repeats a request safely."""

    def claim(self, scope: str, key: str) -> AbstractAsyncContextManager[ClaimedKey]:
        """Hold `key` while the block runs; left without `finish`, it is free again. Raises IdempotencyKeyRunning."""


class Wakeup(Protocol):
    """Something may have changed."""

    async def wait(self, timeout: timedelta) -> None:
        """Return when something may have changed, at the latest after `timeout`."""


class DocumentSignals(Protocol):
    """News of documents' progress: hints to look at the row again, never the truth."""

    def watch(self, tenant_id: TenantId, document_id: DocumentId) -> AbstractAsyncContextManager[Wakeup]: ...
