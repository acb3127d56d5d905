"""What the gateway needs of the world."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import aiohttp

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.ids import DocumentId, TenantId
from docuchat_common.messaging.outbox import InMemoryOutbox, Outbox
from docuchat_knowledge.registry import DocumentRegistry


@dataclass(frozen=True, slots=True)
class GatewayTx:
    """What one transaction of the gateway can do."""

    documents: DocumentRegistry
    outbox: Outbox | InMemoryOutbox


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


@dataclass(frozen=True, slots=True)
class RateDecision:
    """Whether a request may pass and what is left of the window that is nearest to its end."""

    allowed: bool
    limit: int
    remaining: int
    reset_after: timedelta


class RateLimiter(Protocol):
    """Counts requests by whom they come from."""

    async def hit(self, *, address: str, user: str | None) -> RateDecision | None:
        """Count one request; None when the counting is not possible right now, and the request may pass."""


class Upstream(Protocol):
    """One service behind the gateway: requests go out as bytes and come back as bytes."""

    @property
    def name(self) -> str: ...

    async def send(
        self, method: str, target: str, *, headers: Mapping[str, str], body: bytes | None, patience: timedelta
    ) -> aiohttp.ClientResponse:
        """The response, as soon as its head is there; the caller reads and closes it.

        `target` is the raw path with its query; `patience` is the longest silence, before the head and within the body.
        Raises ServiceDown.
        """

    def down(self, error: BaseException) -> UpstreamUnavailable:
        """The error to answer with when the service does not answer, or no more."""


@dataclass(frozen=True, slots=True)
class Upstreams:
    """The services behind the gateway."""

    auth: Upstream
    chat: Upstream
    usage: Upstream
