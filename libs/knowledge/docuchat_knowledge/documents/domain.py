"""Documents as their owners see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from docuchat_common.ids import ChunkId, CollectionId, DocumentId, TenantId, holder_name


class DocumentStatus(StrEnum):
    """Where a document stands; waiting is a state of its own, so that waiting is never taken for failing."""

    QUEUED = "queued"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


class Purpose(StrEnum):
    """What a document was uploaded for, as OpenAI's clients say it; to be asked about, either way."""

    ASSISTANTS = "assistants"
    USER_DATA = "user_data"


@dataclass(frozen=True, slots=True)
class NewDocument:
    """What the gateway knows of an upload once the file is in the blob store."""

    id: DocumentId
    tenant_id: TenantId
    collection_id: CollectionId
    title: str
    filename: str
    media_type: str
    size_bytes: int
    sha256: str
    blob_key: str
    uploaded_by: UUID | None
    purpose: Purpose | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A document as its owner sees it; `pages` is None until the file was opened.

    `queue_position` counts from 1 within the tenant's own queue (the worker is fair between tenants, so other tenants'
    queues do not push it back); `eta_seconds` is an estimate from the tenant's recent documents. Both are None when the
    document is not waiting or running. `waiting_until`: not tried before then, for the reason in `error_code`.
    `info` is what the file says of itself: `title`, `author`, `attachments`, and, outside lists, `page_labels`.
    `embedding_outdated`: its vectors are of another model than the present one, so it is found by its words alone.
    """

    id: DocumentId
    tenant_id: TenantId
    collection_id: CollectionId
    title: str
    filename: str
    media_type: str
    size_bytes: int
    sha256: str
    blob_key: str
    status: DocumentStatus
    pages: int | None
    pages_done: int
    chunks: int
    generation: int
    attempts: int
    queue_position: int | None
    eta_seconds: float | None
    error_code: str | None
    error_detail: str | None
    retryable: bool | None
    waiting_until: datetime | None
    pages_unread: int
    warnings: tuple[str, ...]
    info: Mapping[str, Any]
    embedding_outdated: bool
    uploaded_by: UUID | None
    created_at: datetime
    updated_at: datetime
    ready_at: datetime | None
    uploaded_with: UUID | None = None
    """The tenant's own API key that uploaded it, where no user did."""
    purpose: Purpose = Purpose.ASSISTANTS


class Uploaded(Protocol):
    """What knows who uploaded a document."""

    @property
    def uploaded_by(self) -> UUID | None:
        """The user who did."""
        ...

    @property
    def uploaded_with(self) -> UUID | None:
        """The tenant's own API key with which it was done, where no user did."""
        ...


def holder_of(tenant_id: TenantId, document: Uploaded) -> str | None:
    """Name whose a document is, as `Caller.holder` does; None when it is nobody's."""
    return holder_name(tenant_id, document.uploaded_by, document.uploaded_with)


@dataclass(frozen=True, slots=True)
class Registration:
    """The outcome of registering: `created` is False when the uploader had this content in the collection before."""

    document: Document
    created: bool


@dataclass(frozen=True, slots=True)
class DeletionReceipt:
    """Proof of a deletion: the text is gone when the transaction commits; the blob is the caller's to remove."""

    id: DocumentId
    collection_id: CollectionId
    deleted_at: datetime
    chunks_deleted: int
    pages_deleted: int
    bytes_deleted: int
    blob_key: str
    uploaded_by: UUID | None
    uploaded_with: UUID | None


@dataclass(frozen=True, slots=True)
class HeldDocument:
    """What counts of a document towards quotas."""

    id: DocumentId
    tenant_id: TenantId
    uploaded_by: UUID | None
    size_bytes: int
    pages: int
    """0 until it was read."""
    generation: int


@dataclass(frozen=True, slots=True)
class PassageText:
    """A chunk's text and place, as stored; pages count from 1, offsets are half-open."""

    id: ChunkId
    ordinal: int
    page: int
    page_to: int
    char_start: int
    char_end: int
    text: str
    token_count: int


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that an answer cites, with what stands around it."""

    document_id: DocumentId
    collection_id: CollectionId
    title: str
    filename: str
    chunk: PassageText
    before: tuple[PassageText, ...]
    after: tuple[PassageText, ...]


@dataclass(frozen=True, slots=True)
class PageText:
    """The text of one page of a document of `pages` pages."""

    document_id: DocumentId
    page: int
    pages: int
    text: str


_USUAL_SECONDS = 2.0
"""What a document takes when the tenant has none to judge by: ten pages at the measured rate, with room."""


def estimate_seconds_left(
    status: DocumentStatus,
    *,
    seconds_each: float | None,
    running: int,
    queue_position: int | None,
    running_seconds: float | None,
    pages: int | None,
    pages_done: int,
) -> float | None:
    """When a waiting or running document will be ready, in seconds from now; None for one that is neither.

    `seconds_each` is the mean of the tenant's recent documents; `running` how many of the tenant's run side by side.
    """
    usual = seconds_each or _USUAL_SECONDS
    if status is DocumentStatus.QUEUED:
        return round(usual * ((queue_position or 1) / max(running, 1) + (0.5 if running else 0.0)), 1)
    if status is DocumentStatus.PROCESSING:
        spent = running_seconds or 0.0
        if pages and pages_done:
            return round(max(spent / pages_done * (pages - pages_done), 0.1), 1)
        return round(max(usual - spent, 0.5), 1)
    return None
