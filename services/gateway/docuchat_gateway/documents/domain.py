"""What an upload is, and the pure rules about it: names, types, fingerprints."""

import unicodedata
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from uuid import UUID

from docuchat_common.errors import InvalidInput
from docuchat_common.http.caller import Caller
from docuchat_common.idempotency import fingerprint_of
from docuchat_common.ids import CollectionId, DocumentId, TenantId
from docuchat_common.text import UNSAFE, one_line
from docuchat_gateway.documents.errors import ParameterUnsupported, PurposeRefused
from docuchat_knowledge.collections.domain import Access, Collection
from docuchat_knowledge.documents.domain import DeletionReceipt, Purpose

PDF = "application/pdf"

SNIFFED_BYTES = 1024
"""How far into a file the PDF header may stand (ISO 32000-1, implementation note 13 of Acrobat)."""

EXPIRY_FIELDS = frozenset({"expires_after[anchor]", "expires_after[seconds]"})

MAX_FILENAME_BYTES = 255
MAX_TITLE_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class FormField:
    """A text field of a form."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file of a form, while it arrives: `chunks` must be read to its end before the next part is asked for."""

    name: str
    filename: str
    chunks: AsyncIterator[bytes]


FormPart = FormField | FormFile


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file that arrived whole."""

    filename: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a deletion took away; None is what could not be counted now and is done as soon as it can be."""

    receipt: DeletionReceipt
    blobs: int | None
    quotes: int | None


def manages(caller: Caller, collection: Collection) -> bool:
    """Whether `caller`, who was shown `collection`, manages it; a key does by the scope for just that."""
    return collection.access is Access.MANAGE and (caller.scopes is None or "collections.manage" in caller.scopes)


def blob_folder(tenant_id: TenantId, document_id: DocumentId) -> str:
    """Where everything of a document is kept in the blob store, and nothing else."""
    return f"tenants/{tenant_id}/documents/{document_id}"


def clean_filename(name: str) -> str:
    """The last component of a client's file name, safe to show and to send back in a header; never used as a path."""
    plain = UNSAFE.sub("", unicodedata.normalize("NFC", name)).replace("\\", "/")
    last = PurePosixPath(plain).name.strip().strip(".") if plain.strip("/. ") else ""
    if not last:
        return "document.pdf"
    stem, dot, extension = last.rpartition(".")
    if not dot or len(extension) > 16:
        stem, dot, extension = last, "", ""
    room = MAX_FILENAME_BYTES - len(f"{dot}{extension}".encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + extension


def title_of(title: str | None, filename: str) -> str:
    """The title that was given, else the file's name without its extension."""
    given = one_line(unicodedata.normalize("NFC", title or ""))
    if given:
        return given[:MAX_TITLE_CHARACTERS]
    return filename.removesuffix(".pdf").removesuffix(".PDF")[:MAX_TITLE_CHARACTERS] or filename


def collection_of(fields: dict[str, str]) -> CollectionId | None:
    """The collection that a form names; None for the default one. Raises InvalidInput."""
    value = fields.get("collection_id", "").strip()
    if not value:
        return None
    try:
        return CollectionId(UUID(value))
    except ValueError as error:
        raise InvalidInput("`collection_id` is not a UUID.", field="collection_id") from error


def purpose_of(fields: dict[str, str]) -> Purpose | None:
    """What a form says that its file is for, if anything. Raises PurposeRefused, ParameterUnsupported."""
    value = fields.get("purpose")
    if value is None:
        return None
    if any(name in fields for name in EXPIRY_FIELDS):
        raise ParameterUnsupported(
            "`expires_after` is not supported here; leave it out, and delete the file instead.", param="expires_after"
        )
    return read_purpose(value)


def read_purpose(value: str) -> Purpose:
    """The purpose of that name. Raises PurposeRefused."""
    try:
        return Purpose(value)
    except ValueError as error:
        raise PurposeRefused(
            f"Files for {value[:64]!r} are not taken here; their purpose is `assistants` or `user_data`.",
            param="purpose",
        ) from error


def is_pdf(head: bytes) -> bool:
    """Whether a file that begins with `head` is a PDF: by its content, since names and declared types lie."""
    return b"%PDF-" in head[:SNIFFED_BYTES]


def fingerprint(file: ReceivedFile, fields: dict[str, str], place: str) -> bytes:
    """What two uploads share when they are the same request: content, name, fields in whatever order, and place."""
    pairs = sorted([*fields.items(), ("\x00filename", file.filename)])
    if place:
        pairs.append(("\x00place", place))
    return fingerprint_of(file.sha256, *(part for pair in pairs for part in pair))
