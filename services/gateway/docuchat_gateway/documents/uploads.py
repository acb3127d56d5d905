"""Taking a file in: from a form to a queued document."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import puremagic
import structlog

from docuchat_common.errors import InvalidInput
from docuchat_common.http.caller import Caller
from docuchat_common.ids import CollectionId, DocumentId, uuid7
from docuchat_gateway.documents.domain import (
    PDF,
    SNIFFED_BYTES,
    FormField,
    FormFile,
    FormPart,
    ReceivedFile,
    clean_filename,
    fingerprint,
    is_pdf,
    title_of,
)
from docuchat_gateway.documents.errors import (
    BlobStoreUnavailable,
    FileEmpty,
    FileMissing,
    FileTooLarge,
    FileTypeRefused,
    IdempotencyKeyReused,
)
from docuchat_gateway.documents.events import uploaded_event
from docuchat_gateway.documents.ports import (
    BlobStore,
    BlobWriter,
    FinishedRequest,
    IdempotencyKeys,
    OpenTransaction,
)
from docuchat_knowledge.documents.domain import Document, NewDocument

logger = structlog.get_logger()

ARRIVALS = "uploads/"
"""Prefix of the blobs that are still arriving; what is left there by a crash is swept."""

FORM_FIELDS = frozenset({"title", "collection_id"})


@dataclass(frozen=True, slots=True)
class UploadOutcome:
    """The document of an upload; `created` is False when the same content was there, `replayed` when the key was."""

    document: Document
    created: bool
    replayed: bool = False


class UploadService:
    """The use case of an upload."""

    def __init__(
        self,
        uow: OpenTransaction,
        blobs: BlobStore,
        keys: IdempotencyKeys,
        *,
        max_file_bytes: int,
    ) -> None:
        self._uow = uow
        self._blobs = blobs
        self._keys = keys
        self.max_file_bytes = max_file_bytes

    async def upload(
        self, caller: Caller, parts: AsyncIterator[FormPart], idempotency_key: str | None
    ) -> UploadOutcome:
        """Take in the one file of a form, in whatever order its parts come.

        Raises FileMissing, FileEmpty, FileTooLarge, FileTypeRefused, CollectionNotFound; with a key also
        IdempotencyKeyReused and IdempotencyKeyRunning. On any failure nothing is left behind.
        """
        if idempotency_key is None:
            file, fields = await self._receive(parts, store=True)
            return await self._register(caller, file, fields)
        async with self._keys.claim(caller.subject, idempotency_key) as claim:
            if claim.finished is not None:
                file, fields = await self._receive(parts, store=False)
                return await self._replay(caller, claim.finished, fingerprint(file, fields))
            file, fields = await self._receive(parts, store=True)
            outcome = await self._register(caller, file, fields)
            await claim.finish(FinishedRequest(fingerprint(file, fields), outcome.document.id, outcome.created))
            return outcome

    async def _replay(self, caller: Caller, earlier: FinishedRequest, present: str) -> UploadOutcome:
        if earlier.fingerprint != present:
            raise IdempotencyKeyReused
        async with self._uow(caller.tenant_id) as tx:
            document = await tx.documents.get(caller.tenant_id, earlier.document_id)
        return UploadOutcome(document, earlier.created, replayed=True)

    async def _receive(self, parts: AsyncIterator[FormPart], *, store: bool) -> tuple[ReceivedFile, dict[str, str]]:
        """Read the form to its end; the file goes to the blob store meanwhile when `store`."""
        fields: dict[str, str] = {}
        file: ReceivedFile | None = None
        try:
            async for part in parts:
                match part:
                    case FormField(name, value) if name in FORM_FIELDS:
                        fields[name] = value
                    case FormField("file"):
                        raise FileMissing(
                            '`file` came as text: in curl write an @ before the path, -F "file=@document.pdf".'
                        )
                    case FormField():
                        pass  # a form may carry more than we know of
                    case FormFile("file") if file is not None:
                        raise InvalidInput("One file a request: send each in a request of its own.")
                    case FormFile("file"):
                        file = await self._receive_file(part, store=store)
                    case FormFile(name):
                        raise FileMissing(f"The file came in the field {name[:64]!r}; its name must be `file`.")
            if file is None:
                raise FileMissing
            _collection_of(fields)
        except BaseException:
            if file is not None and file.blob_key is not None:
                await self._discard(file.blob_key)
            raise
        return file, fields

    async def _receive_file(self, part: FormFile, *, store: bool) -> ReceivedFile:
        filename = clean_filename(part.filename)
        key = f"{ARRIVALS}{uuid7()}" if store else None
        writer: BlobWriter | None = None
        digest = hashlib.sha256()
        size = 0
        head = bytearray()
        try:
            async for chunk in part.chunks:
                size += len(chunk)
                if size > self.max_file_bytes:
                    raise FileTooLarge(
                        f"The file is larger than {self.max_file_bytes // 2**20} MB.", max_bytes=self.max_file_bytes
                    )
                digest.update(chunk)
                if writer is not None:
                    await writer.write(chunk)
                    continue
                head += chunk
                if len(head) >= SNIFFED_BYTES and key is not None:
                    _refuse_other_types(bytes(head), filename)
                    writer = self._blobs.open_writer(key)
                    await writer.write(bytes(head))
                    head.clear()
                elif key is None and len(head) > SNIFFED_BYTES:
                    del head[SNIFFED_BYTES:]
            if size == 0:
                raise FileEmpty
            if writer is None:
                _refuse_other_types(bytes(head), filename)
                if key is not None:
                    writer = self._blobs.open_writer(key)
                    await writer.write(bytes(head))
            if writer is not None:
                await writer.commit()
        except BaseException:
            if writer is not None:
                await writer.abort()
            raise
        return ReceivedFile(filename, size, digest.hexdigest(), key)

    async def _register(self, caller: Caller, file: ReceivedFile, fields: dict[str, str]) -> UploadOutcome:
        """Make a stored file a document, unless its collection holds the same content already."""
        assert file.blob_key is not None  # only a stored file is registered
        tenant = caller.tenant_id
        stored_at = file.blob_key
        document_id = DocumentId(uuid7())
        lasting_key = f"tenants/{tenant}/documents/{document_id}/{file.sha256}"
        try:
            async with self._uow(tenant) as tx:
                collection_id = _collection_of(fields)
                if collection_id is None:
                    collection_id = (await tx.collections.open_default(tenant)).id
                else:
                    await tx.collections.get(tenant, collection_id)
                existing = await tx.documents.find_by_content(
                    tenant, collection_id, file.sha256, uploaded_by=caller.user_id
                )
            if existing is not None:
                await self._discard(stored_at)
                return UploadOutcome(existing, created=False)
            await self._blobs.move(stored_at, lasting_key)
            stored_at = lasting_key
            # the blob is durable: now the row and its event, together
            async with self._uow(tenant) as tx:
                registration = await tx.documents.register(
                    NewDocument(
                        id=document_id,
                        tenant_id=tenant,
                        collection_id=collection_id,
                        title=title_of(fields.get("title"), file.filename),
                        filename=file.filename,
                        media_type=PDF,
                        size_bytes=file.size_bytes,
                        sha256=file.sha256,
                        blob_key=lasting_key,
                        uploaded_by=caller.user_id,
                    )
                )
                if registration.created:
                    tx.outbox.add(uploaded_event(registration.document))
        except BaseException:
            await self._discard(stored_at)
            raise
        if not registration.created:
            await self._discard(lasting_key)
        logger.info("document.uploaded", document_id=str(registration.document.id), created=registration.created)
        return UploadOutcome(registration.document, registration.created)

    async def _discard(self, key: str) -> None:
        try:
            await self._blobs.delete(key)
        except BlobStoreUnavailable:
            logger.warning("upload.blob_left", key=key)


async def sweep_arrivals(blobs: BlobStore, *, older_than: timedelta) -> int:
    """Delete what crashed gateways left of uploads that never became documents; returns how many."""
    horizon = datetime.now(UTC) - older_than
    swept = 0
    async for blob in blobs.list_blobs(ARRIVALS):
        if blob.modified_at < horizon:
            await blobs.delete(blob.key)
            swept += 1
    return swept


def _collection_of(fields: dict[str, str]) -> CollectionId | None:
    value = fields.get("collection_id", "").strip()
    if not value:
        return None
    try:
        return CollectionId(UUID(value))
    except ValueError as error:
        raise InvalidInput("`collection_id` is not a UUID.", field="collection_id") from error


def _refuse_other_types(head: bytes, filename: str) -> None:
    if is_pdf(head):
        return
    try:
        found: str | None = puremagic.from_string(head, mime=True) or None
    except (puremagic.PureError, ValueError):
        found = None
    what = f"it is {found}" if found else "its type is not recognised"
    lies = " although its name ends in .pdf" if filename.lower().endswith(".pdf") else ""
    raise FileTypeRefused(
        f"The content is not a PDF{lies}: {what}. Save or print the document as a PDF and upload that.",
        accepted=[PDF],
        found=found,
    )
