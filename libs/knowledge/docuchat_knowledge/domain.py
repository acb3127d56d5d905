"""What the knowledge base is made of: documents, claims on them, chunks and embedding spaces."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from docuchat_common.ids import ChunkId, CollectionId, DocumentId, TenantId, UserId


class DocumentStatus(StrEnum):
    """Where a document stands; waiting is a state of its own, so that waiting is never taken for failing."""

    QUEUED = "queued"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Collection:
    """A tenant's set of documents; each tenant has one default collection, made on first use."""

    id: CollectionId
    tenant_id: TenantId
    name: str
    is_default: bool
    document_count: int
    chunk_count: int
    created_at: datetime


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
    uploaded_by: UserId | None


@dataclass(frozen=True, slots=True)
class Document:
    """A document as its owner sees it; `pages` is None until the file was opened.

    `queue_position` counts from 1 within the tenant's own queue (the worker is fair between tenants, so other tenants'
    queues do not push it back); `eta_seconds` is an estimate from the tenant's recent documents. Both are None when the
    document is not waiting or running.
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
    uploaded_by: UserId | None
    created_at: datetime
    updated_at: datetime
    ready_at: datetime | None


@dataclass(frozen=True, slots=True)
class Registration:
    """The outcome of registering: `created` is False when the same content was there before."""

    document: Document
    created: bool


@dataclass(frozen=True, slots=True)
class DeletionReceipt:
    """Proof of a deletion: the text is gone when the transaction commits; the blob is the caller's to remove."""

    id: DocumentId
    deleted_at: datetime
    chunks_deleted: int
    blob_key: str


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A deleted document whose blob may still exist; `purge` takes the row away once the blob is gone."""

    id: DocumentId
    tenant_id: TenantId
    blob_key: str


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a tenant has stored: for quotas of documents and pages."""

    documents: int
    pages: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on one document, until the lease ends or another worker finds this one dead.

    Every write names `token`; a worker that lost its claim gets `ClaimLost` instead of writing (fencing, Kleppmann
    2016).
    `generation` is the one to write; `resume_after` is the ordinal of the last chunk already stored under it, or -1.
    `attempt` counts from 1.
    """

    document_id: DocumentId
    tenant_id: TenantId
    collection_id: CollectionId
    token: UUID
    generation: int
    attempt: int
    resume_after: int
    title: str
    filename: str
    media_type: str
    size_bytes: int
    sha256: str
    blob_key: str
    uploaded_by: UserId | None
    lease_expires_at: datetime


@dataclass(frozen=True, slots=True)
class ChunkDraft:
    """A piece of a document's text, before it has an embedding.

    `ordinal` counts from 0 through the document; pages count from 1; `char_start` and `char_end` are offsets in the
    document's text (pages joined by U+000C), half-open. `language` is an ISO 639-1 code, None when unknown.
    """

    ordinal: int
    page: int
    page_to: int
    char_start: int
    char_end: int
    text: str
    token_count: int
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What became live in a swap."""

    document_id: DocumentId
    pages: int
    chunks: int
    tokens: int
    generation: int


@dataclass(frozen=True, slots=True)
class WaitingDocument:
    """A document that somebody should be working on: the reconciler publishes a ticket for it."""

    document_id: DocumentId
    tenant_id: TenantId
    collection_id: CollectionId
    uploaded_by: UserId | None
    sha256: str
    size_bytes: int
    media_type: str
    attempts: int
    waiting_since: datetime


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The ingest queue as a whole, for metrics and scaling."""

    queued: int
    processing: int
    oldest_age: timedelta


@dataclass(frozen=True, slots=True)
class ScoredChunk:
    """A found chunk with its fused score and its place in either leg (ranks count from 1, None: not found there).

    `similarity` is the cosine in [-1, 1], `text_score` the BM25 score (unbounded); each None when its leg lacks it.
    """

    chunk_id: ChunkId
    document_id: DocumentId
    collection_id: CollectionId
    title: str
    filename: str
    ordinal: int
    page: int
    page_to: int
    char_start: int
    char_end: int
    text: str
    token_count: int
    score: float
    vector_rank: int | None
    text_rank: int | None
    similarity: float | None
    text_score: float | None


@dataclass(frozen=True, slots=True)
class Readiness:
    """How much of what a question is about can be searched: an empty context must be told, never answered on."""

    queued: int
    processing: int
    ready: int
    failed: int
    chunks: int


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
