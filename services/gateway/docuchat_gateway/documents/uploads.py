"""Taking a file in: from a form to a queued document.

The order makes every crash harmless. First a row (`receiving`, which nobody sees), then the blob below the row's own
prefix, then the row becomes a document, in one transaction with its event. What a crash leaves is found by its row and
swept by the worker; once the last transaction has begun nothing is deleted here, since its outcome may not be known.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from docuchat_common.acts import excuse_act
from docuchat_common.audit import entry
from docuchat_common.blobs import BlobMissing, Blobs, BlobWriter
from docuchat_common.contracts.holds import Amount, HoldKind, HoldRequest, HoldUnit, Subject, SubjectType
from docuchat_common.errors import DocuChatError, InvalidInput, UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.http.holds import HoldsClient
from docuchat_common.idempotency import Claim, Idempotency, StoredResponse
from docuchat_common.ids import DocumentId, uuid7
from docuchat_common.user_events import UserEventWriter
from docuchat_gateway.documents.domain import (
    PDF,
    FormField,
    FormFile,
    FormPart,
    ReceivedFile,
    blob_folder,
    clean_filename,
    collection_of,
    fingerprint,
    purpose_of,
    title_of,
)
from docuchat_gateway.documents.errors import FileRequired
from docuchat_gateway.documents.events import uploaded_event
from docuchat_gateway.documents.file_types import checked
from docuchat_gateway.documents.places import Place, writable
from docuchat_gateway.documents.ports import OpenTransaction
from docuchat_gateway.transaction import GatewayTx
from docuchat_knowledge.documents.domain import Document, DocumentStatus, NewDocument, Registration
from docuchat_knowledge.documents.errors import UploadAbandoned

logger = structlog.get_logger()

HOLD_SECONDS: Final = 1.5
"""What cannot be held is not accepted; a client is told so within 2 seconds."""

Present = Callable[[Document, bool, bool], StoredResponse]
"""Makes the answer of a document, of whether it was made just now, and of whether the form named a purpose."""


@dataclass(frozen=True, slots=True)
class UploadOutcome:
    """What an upload is answered; `replayed` when the key's first request was answered so."""

    response: StoredResponse
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class _Incoming:
    """A request to take in a file of at most so many bytes."""

    caller: Caller
    place: Place
    parts: AsyncIterator[FormPart]
    most: int
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A file that is being stored: its row and its hold are there."""

    document_id: DocumentId
    folder: str
    hold_id: UUID
    writer: BlobWriter

    @property
    def blob_key(self) -> str:
        return arriving_key(self.folder)


def arriving_key(folder: str) -> str:
    """Where a document's file is while it arrives."""
    return f"{folder}/arriving"


class UploadService:
    """The use case of an upload."""

    def __init__(
        self,
        uow: OpenTransaction,
        blobs: Blobs,
        idempotency: Idempotency,
        holds: HoldsClient,
        present: Present,
        user_events: UserEventWriter,
        *,
        hold_lease: timedelta,
    ) -> None:
        self._uow = uow
        self._blobs = blobs
        self._idempotency = idempotency
        self._holds = holds
        self._present = present
        self._user_events = user_events
        self._hold_lease = hold_lease

    async def upload(
        self,
        caller: Caller,
        place: Place,
        parts: AsyncIterator[FormPart],
        idempotency_key: str | None,
        *,
        declared_bytes: int | None,
    ) -> UploadOutcome:
        """Take in the one file of a form, in whatever order its parts come; `declared_bytes` bounds its size.

        Raises FileRequired, FileEmpty, FileTooLarge, FileTypeRefused, CollectionNotFound, NotAllowed where the caller
        may only read, TooManyCollections, QuotaExceeded, StorageFull; with a key also IdempotencyKeyReused and
        IdempotencyKeyRunning. UpstreamUnavailable when the database's answer to the registration was lost: then the
        document may be there.
        """
        incoming = _Incoming(caller, place, parts, min(declared_bytes or place.max_bytes, place.max_bytes))
        if idempotency_key is None:
            return UploadOutcome(await self._take_in(incoming))
        async with self._idempotency.claim(caller, idempotency_key) as claim:
            if claim.is_first:
                return UploadOutcome(await self._take_in(replace(incoming, claim=claim)))
            file, fields, _ = await self._receive(incoming, store=False)
            return UploadOutcome(claim.replay(fingerprint(file, fields, place.name)), replayed=True)

    async def _take_in(self, incoming: _Incoming) -> StoredResponse:
        file, fields, arrival = await self._receive(incoming, store=True)
        assert arrival is not None  # only not when nothing was to be stored
        registration = await self._register(incoming, file, fields, arrival)
        document = registration.document
        self._user_events.add(incoming.caller.holder, "document", document.id)
        logger.info("document.uploaded", document_id=str(document.id), created=registration.created)
        return self._present(document, registration.created, purpose_of(fields) is not None)

    async def _settle(
        self, tx: GatewayTx, incoming: _Incoming, file: ReceivedFile, fields: dict[str, str], outcome: Registration
    ) -> Registration:
        if incoming.claim is not None:
            request = fingerprint(file, fields, incoming.place.name)
            answer = self._present(outcome.document, outcome.created, purpose_of(fields) is not None)
            await tx.requests.settle(incoming.claim, request, answer, outcome.document.id)
        return outcome

    async def _receive(
        self, incoming: _Incoming, *, store: bool
    ) -> tuple[ReceivedFile, dict[str, str], _Arrival | None]:
        """Read the form to its end; the file goes to the blob store meanwhile when `store`."""
        fields: dict[str, str] = {}
        file: ReceivedFile | None = None
        arrival: _Arrival | None = None
        try:
            async for part in incoming.parts:
                match part:
                    case FormField(name, value) if name in incoming.place.fields:
                        fields[name] = value
                        purpose_of(fields)  # refused before the file, where it comes after
                    case FormField("file"):
                        raise FileRequired(
                            '`file` came as text: in curl write an @ before the path, -F "file=@document.pdf".'
                        )
                    case FormField():
                        pass  # a form may carry more than we know of
                    case FormFile("file") if file is not None:
                        raise InvalidInput("One file a request: send each in a request of its own.")
                    case FormFile("file") if store:
                        file, arrival = await self._store_file(incoming, part)
                    case FormFile("file"):
                        file = await self._measure_file(incoming, part)
                    case FormFile(name):
                        raise FileRequired(f"The file came in the field {name[:64]!r}; its name must be `file`.")
            if file is None:
                raise FileRequired
            collection_of(fields)
        except BaseException:
            if arrival is not None:
                await self._abandon(incoming.caller, arrival)
            raise
        return file, fields, arrival

    async def _store_file(self, incoming: _Incoming, part: FormFile) -> tuple[ReceivedFile, _Arrival]:
        filename = clean_filename(part.filename)
        arrival: _Arrival | None = None
        try:
            async for chunk in checked(part.chunks, filename, incoming.place.max_bytes):
                if arrival is None:
                    arrival = await self._begin(incoming)
                await arrival.writer.write(chunk)
            assert arrival is not None  # an empty file was refused
            blob = await arrival.writer.commit()
        except BaseException:
            if arrival is not None:
                await self._abandon(incoming.caller, arrival)
            raise
        return ReceivedFile(filename, blob.size, blob.sha256), arrival

    async def _measure_file(self, incoming: _Incoming, part: FormFile) -> ReceivedFile:
        filename = clean_filename(part.filename)
        digest = hashlib.sha256()
        size = 0
        async for chunk in checked(part.chunks, filename, incoming.place.max_bytes):
            digest.update(chunk)
            size += len(chunk)
        return ReceivedFile(filename, size, digest.hexdigest())

    async def _begin(self, incoming: _Incoming) -> _Arrival:
        """Set room aside at the usage service, then write the row that stands before the blob."""
        caller = incoming.caller
        await self._blobs.require_room()
        try:
            async with asyncio.timeout(HOLD_SECONDS):
                hold = await self._holds.open(_hold_request(caller, incoming.most, self._hold_lease))
        except TimeoutError as error:
            raise UpstreamUnavailable(
                "The usage service does not answer; try again shortly.", retry_after=timedelta(seconds=2)
            ) from error
        tenant = caller.tenant_id
        document_id = DocumentId(uuid7())
        try:
            async with self._uow.as_caller(caller) as tx:
                await tx.documents.begin_receiving(
                    tenant,
                    document_id,
                    collection_id=(await incoming.place.begin(tx, caller)).id,
                    uploaded_by=caller.maker_id,
                    uploaded_with=caller.service_key_id,
                    media_type=PDF,
                )
        except BaseException:
            await self._release(hold.hold_id)
            raise
        folder = blob_folder(tenant, document_id)
        return _Arrival(document_id, folder, hold.hold_id, self._blobs.open_writer(arriving_key(folder)))

    async def _register(
        self, incoming: _Incoming, file: ReceivedFile, fields: dict[str, str], arrival: _Arrival
    ) -> Registration:
        """Make a stored file a document, unless its uploader has the same content in the collection already."""
        caller, tenant = incoming.caller, incoming.caller.tenant_id
        try:
            async with self._uow.as_caller(caller) as tx:
                collection = await incoming.place.open(tx, caller, fields)
                existing = await tx.documents.find_by_content(
                    tenant, collection.id, file.sha256, uploaded_by=caller.maker_id
                )
            if existing is not None:
                existing = await self._mend(incoming, existing, file, arrival)
                async with self._uow.as_caller(caller) as tx:
                    registration = await self._settle(tx, incoming, file, fields, Registration(existing, created=False))
            else:
                await self._blobs.move(arrival.blob_key, f"{arrival.folder}/{file.sha256}")
        except BaseException:
            await self._abandon(caller, arrival)
            raise
        if existing is None:
            new = NewDocument(
                id=arrival.document_id,
                tenant_id=tenant,
                collection_id=collection.id,
                title=title_of(fields.get("title"), file.filename),
                filename=file.filename,
                media_type=PDF,
                size_bytes=file.size_bytes,
                sha256=file.sha256,
                blob_key=f"{arrival.folder}/{file.sha256}",
                uploaded_by=caller.maker_id,
                purpose=purpose_of(fields),
            )
            registration = await self._commit(incoming, new, file, fields, arrival)
        if not registration.created:
            excuse_act()  # unless its file was renewed, nothing has changed
            await self._abandon(caller, arrival)
        return registration

    async def _commit(
        self, incoming: _Incoming, new: NewDocument, file: ReceivedFile, fields: dict[str, str], arrival: _Arrival
    ) -> Registration:
        """Register, in one transaction with event and key. When its outcome is not known, nothing is deleted."""
        caller = incoming.caller
        try:
            async with self._uow.as_caller(caller) as tx:
                registration = await tx.documents.register(new)
                if registration.created:
                    tx.outbox.add(uploaded_event(registration.document, hold_id=arrival.hold_id))
                    tx.outbox.add(entry(caller, incoming.place.act, registration.document.id))
                return await self._settle(tx, incoming, file, fields, registration)
        except UpstreamUnavailable:
            document = await self._look_for(caller, new.id)
            if document is None:
                raise
            return Registration(document, created=True)
        except DocuChatError:  # refused, so the transaction was rolled back
            await self._abandon(caller, arrival)
            raise

    async def _look_for(self, caller: Caller, document_id: DocumentId) -> Document | None:
        """The document whose COMMIT was not answered; None when it is not there, or the database does not answer."""
        for pause in (0.0, 0.2, 0.5):
            await asyncio.sleep(pause)
            with suppress(UpstreamUnavailable):
                async with self._uow.as_caller(caller) as tx:
                    return await tx.documents.find(caller.tenant_id, document_id)
        return None

    async def _mend(self, incoming: _Incoming, existing: Document, file: ReceivedFile, arrival: _Arrival) -> Document:
        """Give a document that failed, or lost its blob, the file that has arrived; a failed one is queued again.

        Raises CollectionNotFound, NotAllowed and UploadAbandoned for what was lost meanwhile.
        """
        if existing.status is not DocumentStatus.FAILED and await self._has_blob(existing):
            return existing
        caller = incoming.caller
        blob_key = f"{blob_folder(existing.tenant_id, existing.id)}/{file.sha256}"
        await self._blobs.move(arrival.blob_key, blob_key)
        async with self._uow.as_caller(caller) as tx:
            writable(await tx.collections.get(caller.tenant_id, existing.collection_id))
            renewed = await tx.documents.renew_blob(existing.tenant_id, existing.id, blob_key)
            if renewed is not None:
                tx.outbox.add(uploaded_event(renewed))
                tx.outbox.add(entry(caller, incoming.place.act, renewed.id, detail="its file again"))
            elif await tx.documents.find(existing.tenant_id, existing.id) is None:
                raise UploadAbandoned("The document with this content was deleted meanwhile; upload the file again.")
        return renewed or existing

    async def _has_blob(self, document: Document) -> bool:
        try:
            await self._blobs.open(document.blob_key, 0, 1)
        except BlobMissing:
            return False
        return True

    async def _abandon(self, caller: Caller, arrival: _Arrival) -> None:
        """Leave nothing of an upload that became no document; what cannot be done now the worker's sweep does."""
        tenant = caller.tenant_id
        try:
            await arrival.writer.abort()
            async with self._uow.as_caller(caller) as tx:
                await tx.documents.abandon(tenant, arrival.document_id)
            await self._blobs.delete_prefix(arrival.folder)
            async with self._uow.as_caller(caller) as tx:
                await tx.documents.purge(tenant, arrival.document_id)
        except UpstreamUnavailable as error:
            logger.warning("upload.left_to_the_sweep", document_id=str(arrival.document_id), error=error.code)
        await self._release(arrival.hold_id)

    async def _release(self, hold_id: UUID) -> None:
        try:
            await self._holds.release(hold_id)
        except DocuChatError as error:
            logger.warning("upload.hold_left", error=error.code)  # its lease ends by itself


def _hold_request(caller: Caller, most: int, lease: timedelta) -> HoldRequest:
    return HoldRequest(
        tenant_id=caller.tenant_id,
        subjects=tuple(Subject(type=SubjectType(kind), id=str(subject)) for kind, subject in caller.subjects),
        kind=HoldKind.UPLOAD,
        amounts=(
            Amount(unit=HoldUnit.DOCUMENTS, amount=1),
            Amount(unit=HoldUnit.PAGES, amount=1),
            Amount(unit=HoldUnit.BYTES, amount=most),
        ),
        lease=lease,
    )
