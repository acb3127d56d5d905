"""What goes over the wire."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_common.defusing import defuse
from docuchat_gateway.documents.domain import Deletion
from docuchat_knowledge.documents import domain as passages
from docuchat_knowledge.documents.domain import Document, DocumentStatus, Purpose


class DocumentFault(BaseModel):
    """Why a document failed."""

    code: str = Field(examples=["encrypted"])
    detail: str


class DocumentInfo(BaseModel):
    """What the file says of itself; empty where it says nothing."""

    title: str = ""
    author: str = ""
    page_labels: list[str] = Field(
        default=[],
        description="What is printed on each page as its number, when that is not its place; not in lists.",
    )
    attachments: list[str] = Field(default=[], description="Names of files within the file, which are not read.")

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> "DocumentInfo":
        said = cls.model_validate(info)
        return cls(
            title=defuse(said.title),
            author=defuse(said.author),
            page_labels=[defuse(label) for label in said.page_labels],
            attachments=[defuse(name) for name in said.attachments],
        )


class DocumentView(BaseModel):
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
    waiting_until: datetime | None = Field(description="Not tried again before then; `error` says what it waits for.")
    pages_unread: int = Field(description="Pages of which nothing, or little, could be read.")
    warnings: list[str]
    info: DocumentInfo
    embedding_outdated: bool = Field(description="Found by its words alone, until it is embedded again.")
    created_at: datetime
    updated_at: datetime
    ready_at: datetime | None
    collection_id: UUID
    object: Literal["file"] = Field(
        default="file", description="As OpenAI's files have it, with `bytes` and `purpose`."
    )
    bytes: int = Field(description="As `size_bytes`.")
    purpose: Purpose = Field(description="What OpenAI's clients uploaded it for; `assistants` of any other.")

    @classmethod
    def of(cls, document: Document) -> "DocumentView":
        return cls(
            id=document.id,
            title=defuse(document.title),
            filename=defuse(document.filename),
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
            waiting_until=document.waiting_until,
            pages_unread=document.pages_unread,
            warnings=list(document.warnings),
            info=DocumentInfo.of(document.info),
            embedding_outdated=document.embedding_outdated,
            created_at=document.created_at,
            updated_at=document.updated_at,
            ready_at=document.ready_at,
            collection_id=document.collection_id,
            bytes=document.size_bytes,
            purpose=document.purpose,
        )


class DeletionReceiptView(BaseModel):
    """The receipt of a deletion: no search finds the text any more. Null: not counted yet, and gone shortly."""

    id: UUID
    deleted_at: datetime
    documents_deleted: int = 1
    chunks_deleted: int
    pages_deleted: int
    bytes_deleted: int
    blobs_deleted: int | None = Field(description="Objects in the blob store.")
    quotes_deleted: int | None = Field(description="Sentences in answers; the citations stay, without them.")

    @classmethod
    def of(cls, deletion: Deletion) -> "DeletionReceiptView":
        receipt = deletion.receipt
        return cls(
            id=receipt.id,
            deleted_at=receipt.deleted_at,
            chunks_deleted=receipt.chunks_deleted,
            pages_deleted=receipt.pages_deleted,
            bytes_deleted=receipt.bytes_deleted,
            blobs_deleted=deletion.blobs,
            quotes_deleted=deletion.quotes,
        )


class PassageText(BaseModel):
    """A piece of a document's text, as it was indexed."""

    id: UUID
    ordinal: int = Field(description="Place in the document, from 0.")
    page: int
    page_to: int
    char_start: int = Field(description="Where the piece begins in the document's text.")
    char_end: int
    text: str

    @classmethod
    def of(cls, text: passages.PassageText) -> "PassageText":
        return cls(
            id=text.id,
            ordinal=text.ordinal,
            page=text.page,
            page_to=text.page_to,
            char_start=text.char_start,
            char_end=text.char_end,
            text=defuse(text.text),
        )


class PassageView(BaseModel):
    """What a citation points at, with what stands around it."""

    document_id: UUID
    collection_id: UUID
    title: str
    filename: str
    passage: PassageText
    before: list[PassageText]
    after: list[PassageText]

    @classmethod
    def of(cls, passage: passages.Passage) -> "PassageView":
        return cls(
            document_id=passage.document_id,
            collection_id=passage.collection_id,
            title=defuse(passage.title),
            filename=defuse(passage.filename),
            passage=PassageText.of(passage.chunk),
            before=[PassageText.of(text) for text in passage.before],
            after=[PassageText.of(text) for text in passage.after],
        )


class PageTextView(BaseModel):
    """The text of one page, as it was read."""

    document_id: UUID
    page: int
    pages: int
    text: str

    @classmethod
    def of(cls, page: passages.PageText) -> "PageTextView":
        return cls(document_id=page.document_id, page=page.page, pages=page.pages, text=defuse(page.text))
