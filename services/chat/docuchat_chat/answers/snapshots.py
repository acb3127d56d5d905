"""Sources and citations as plain fields: the same in frames and in rows."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from docuchat_chat.answers.domain import Citation, Passage, Source
from docuchat_common.ids import ChunkId, DocumentId


def source_fields(source: Source) -> dict[str, Any]:
    """Return a source without its text; `deleted` stands there only when it is true."""
    fields = {"number": source.number, **_place(source.passage)}
    return fields | {"deleted": True} if source.deleted else fields


def source_of(fields: dict[str, Any]) -> Source:
    """Return the source of these fields; its text is empty."""
    return Source(fields["number"], Passage(text="", **_place_of(fields)))


def citation_fields(citation: Citation) -> dict[str, Any]:
    """Return a citation; `deleted` stands there only when it is true."""
    fields = {"number": citation.number, **_place(citation), "quote": citation.quote}
    return fields | {"deleted": True} if citation.deleted else fields


def citation_of(fields: dict[str, Any]) -> Citation:
    """Return the citation of these fields."""
    deleted = fields.get("deleted", False)
    return Citation(number=fields["number"], quote=fields["quote"], deleted=deleted, **_place_of(fields))


def _place(passage: Passage | Citation) -> dict[str, Any]:
    return {
        "chunk_id": str(passage.chunk_id),
        "document_id": str(passage.document_id),
        "title": passage.title,
        "filename": passage.filename,
        "page": passage.page,
        "page_to": passage.page_to,
        "score": passage.score,
    }


def _place_of(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "chunk_id": ChunkId(UUID(fields["chunk_id"])),
        "document_id": DocumentId(UUID(fields["document_id"])),
        **{name: fields[name] for name in ("title", "filename", "page", "page_to", "score")},
    }
