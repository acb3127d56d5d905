"""What goes over the wire."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_knowledge.documents.domain import DeletionReceipt, Document, DocumentStatus


class DocumentFault(BaseModel):
    """Why a document failed."""

    code: str = Field(examples=["encrypted"])
    detail: str


class DocumentOut(BaseModel):
    """A document and how far it has come."""

    id: UUID
    title: str
    filename: str
    media_type: str
    size_bytes: int
    sha256: str
    status: DocumentStatus
    pages: int | None = Field(description="Number of pages; null until the file was opened.")
    pages_done: int
    chunks: int
    queue_position: int | None = Field(description="Place in the queue from 1, while it waits.")
    eta_seconds: float | None = Field(description="Estimated time until it is ready.")
    error: DocumentFault | None
    created_at: datetime
    updated_at: datetime
    ready_at: datetime | None
    collection_id: UUID

    @classmethod
    def of(cls, document: Document) -> "DocumentOut":
        return cls(
            id=document.id,
            title=document.title,
            filename=document.filename,
            media_type=document.media_type,
            size_bytes=document.size_bytes,
            sha256=document.sha256,
            status=document.status,
            pages=document.pages,
            pages_done=document.pages_done,
            chunks=document.chunks,
            queue_position=document.queue_position,
            eta_seconds=None if document.eta_seconds is None else round(document.eta_seconds, 1),
            error=None
            if document.error_code is None
            else DocumentFault(code=document.error_code, detail=document.error_detail or ""),
            created_at=document.created_at,
            updated_at=document.updated_at,
            ready_at=document.ready_at,
            collection_id=document.collection_id,
        )


class DeletionOut(BaseModel):
    """The receipt of a deletion: no search finds the text any more."""

    id: UUID
    deleted_at: datetime
    chunks_deleted: int

    @classmethod
    def of(cls, receipt: DeletionReceipt) -> "DeletionOut":
        return cls(id=receipt.id, deleted_at=receipt.deleted_at, chunks_deleted=receipt.chunks_deleted)
