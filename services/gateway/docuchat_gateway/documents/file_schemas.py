"""Documents as files of OpenAI's API: https://platform.openai.com/docs/api-reference/files/object."""

from collections.abc import Sequence
from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_common.defusing import defuse
from docuchat_common.ids import file_name
from docuchat_knowledge.documents.domain import Document, DocumentStatus, Purpose

FileStatus = Literal["uploaded", "processed", "error"]
_STATUSES: Final[dict[DocumentStatus, FileStatus]] = {
    DocumentStatus.QUEUED: "uploaded",
    DocumentStatus.PROCESSING: "uploaded",
    DocumentStatus.READY: "processed",
    DocumentStatus.FAILED: "error",
}


class FileDetails(BaseModel):
    """The document that a file is."""

    document_id: UUID
    collection_id: UUID
    title: str
    status: DocumentStatus
    sha256: str


class FileObject(BaseModel):
    """A document as OpenAI's clients see files."""

    id: str = Field(description="`file-` and the document's id.")
    object: Literal["file"] = "file"
    bytes: int
    created_at: int = Field(description="Seconds since 1970.")
    expires_at: int | None = Field(default=None, description="Files do not expire by themselves.")
    filename: str
    purpose: Purpose
    status: FileStatus
    status_details: str | None = Field(description="Why it failed.")
    docuchat: FileDetails

    @classmethod
    def of(cls, document: Document) -> "FileObject":
        """Return the file that a document is."""
        return cls(
            id=file_name(document.id),
            bytes=document.size_bytes,
            created_at=int(document.created_at.timestamp()),
            filename=defuse(document.filename),
            purpose=document.purpose,
            status=_STATUSES[document.status],
            status_details=document.error_detail if document.status is DocumentStatus.FAILED else None,
            docuchat=FileDetails(
                document_id=document.id,
                collection_id=document.collection_id,
                title=defuse(document.title),
                status=document.status,
                sha256=document.sha256,
            ),
        )


class FileList(BaseModel):
    """A page of files; the next begins `after` the last of them."""

    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def of(cls, found: Sequence[Document], limit: int) -> "FileList":
        """Return the first `limit` of what was found; one more tells that there are more."""
        data = [FileObject.of(document) for document in found[:limit]]
        return cls(
            data=data,
            first_id=data[0].id if data else None,
            last_id=data[-1].id if data else None,
            has_more=len(found) > limit,
        )


class FileDeleted(BaseModel):
    """What is answered when a file was deleted."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True
