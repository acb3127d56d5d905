"""What a search finds."""

from __future__ import annotations

from dataclasses import dataclass

from docuchat_common.ids import ChunkId, CollectionId, DocumentId


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
    outdated: int = 0
    """Ready ones whose vectors are of another model than the present one: they are found by words alone."""


@dataclass(frozen=True, slots=True)
class SearchBounds:
    """What a search costs at most, however large its tenant."""

    exact_scan: int = 20_000
    """Up to so many chunks a tenant's vectors are read one and all: exact, and as fast as the index with its filter."""
    count_cap: int = 1_000
    """Words are counted no further; what is more common is estimated from a sample."""
    candidates: int = 800
    """Chunks that the word leg scores."""
