"""Claims on documents, and what a worker makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from docuchat_common.ids import CollectionId, DocumentId, TenantId, UserId


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
    uploaded_with: UUID | None
    lease_expires_at: datetime


@dataclass(frozen=True, slots=True)
class ChunkDraft:
    """A piece of a document's text, before it has an embedding.

    `ordinal` counts from 0 through the document; pages count from 1; `char_start` and `char_end` are offsets in the
    document's text (pages joined by U+000C), half-open. `language` is an ISO 639-1 code, None when unknown. `heading`
    is the path of the outline's entry under which it begins, None when there is none.
    """

    ordinal: int
    page: int
    page_to: int
    char_start: int
    char_end: int
    text: str
    token_count: int
    language: str | None = None
    heading: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What became live in a swap."""

    document_id: DocumentId
    pages: int
    chunks: int
    tokens: int
    generation: int


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A deleted document whose blob may still exist; `purge` takes the row away once the blob is gone."""

    id: DocumentId
    tenant_id: TenantId
    blob_key: str


@dataclass(frozen=True, slots=True)
class WaitingDocument:
    """A document that somebody should be working on: the reconciler publishes a ticket for it."""

    document_id: DocumentId
    tenant_id: TenantId
    collection_id: CollectionId
    uploaded_by: UserId | None
    uploaded_with: UUID | None
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
