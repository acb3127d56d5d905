"""Make archives: the row is the truth, an event is only word of it, and who dies in the midst of one begins anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import orjson
import structlog

from docuchat_common.blobs import BlobMissing, Blobs
from docuchat_common.errors import DocuChatError
from docuchat_common.events.catalogue import ExportReady
from docuchat_common.exporting import Exported, ExportedRow, read_rows
from docuchat_common.http.caller import Caller
from docuchat_common.ids import TenantId
from docuchat_ingest.exports.archive import Archive
from docuchat_ingest.exports.ports import Source
from docuchat_ingest.transaction import IngestUnitOfWork
from docuchat_knowledge.exports.domain import ExportClaim, StoredFile
from docuchat_knowledge.jobs.claims import LOCK_CLASS, RESTART_GRACE

logger = structlog.get_logger()

_LOOK_EVERY: Final = timedelta(seconds=5)
_MOST_ATTEMPTS: Final = 6
_FILES_AT_ONCE: Final = 500
_EXPIRED_AT_ONCE: Final = 50
_TOGETHER: Final = 256 * 1024
"""Bytes of rows that are packed at once."""
_EXTENSIONS: Final = {"application/pdf": "pdf"}


def folder_of(tenant_id: int, export_id: UUID) -> str:
    """Where an archive is kept, and nothing else."""
    return f"tenants/{tenant_id}/exports/{export_id}"


@dataclass(frozen=True, slots=True)
class Exports:
    """Makes one archive at a time, and takes away those whose time is over."""

    uow: IngestUnitOfWork
    blobs: Blobs
    people: Source
    """Who are there; it tells which API keys are whose and who is in which role and groups, so it is asked first."""
    chats: Source
    """What is private to a person."""
    others: Sequence[Source]
    lifetime: timedelta
    worker_id: int
    _wakeup: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Somebody asked for an archive: look now."""
        self._wakeup.set()

    async def run(self) -> None:
        """Look for what was asked for, until cancelled."""
        while True:
            self._wakeup.clear()
            while await self.make_next():
                pass
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wakeup.wait(), _LOOK_EVERY.total_seconds())

    async def make_next(self) -> bool:
        """Make the archive that was asked for first; False when there is none to make."""
        async with self.uow.system() as tx:
            claim = await tx.exports.claim(
                self.worker_id, LOCK_CLASS, RESTART_GRACE, most_attempts=_MOST_ATTEMPTS, lifetime=self.lifetime
            )
        if claim is None:
            return False
        try:
            await self._make(claim)
        except DocuChatError as error:
            logger.warning("export.postponed", export_id=str(claim.id), attempt=claim.attempt, code=error.code)
            await self._postpone(claim)
        except Exception:
            logger.exception("export.failed", export_id=str(claim.id), attempt=claim.attempt)
            await self._postpone(claim)
        return True

    async def sweep(self) -> None:
        """Delete archives whose time is over."""
        async with self.uow.system() as tx:
            expired = await tx.exports.list_expired(_EXPIRED_AT_ONCE)
        for tenant_id, export_id in expired:
            await self.blobs.delete_prefix(folder_of(tenant_id, export_id))
            async with self.uow.system() as tx:
                await tx.exports.delete(export_id)

    async def _postpone(self, claim: ExportClaim) -> None:
        async with self.uow(claim.tenant_id) as tx:
            await tx.exports.postpone(claim, _MOST_ATTEMPTS, self.lifetime)

    async def _make(self, claim: ExportClaim) -> None:
        # a worker that was thought dead writes to another key, so what is shown is what was finished
        writer = self.blobs.open_writer(f"{folder_of(claim.tenant_id, claim.id)}/{claim.attempt}.zip")
        try:
            archive = Archive(writer)
            await self._fill(archive, claim)
            blob = await writer.commit()
        except BaseException:
            await writer.abort()
            raise
        async with self.uow(claim.tenant_id) as tx:
            expires_at = await tx.exports.finish(claim, blob.key, blob.size, self.lifetime)
            if expires_at is not None:
                tx.outbox.add(
                    ExportReady(
                        tenant_id=claim.tenant_id,
                        export_id=claim.id,
                        user_id=claim.user_id,
                        size_bytes=blob.size,
                        expires_at=expires_at,
                    )
                )
        if expires_at is None:  # somebody else made it
            await self.blobs.delete(blob.key)
        logger.info("export.ready", export_id=str(claim.id), tenant_id=claim.tenant_id, size=blob.size)

    async def _fill(self, archive: Archive, claim: ExportClaim) -> None:
        person = _Person()
        whose = Exported(claim.tenant_id, claim.user_id)
        await self._copy_rows(archive, self.people, whose, person)
        if claim.user_id is not None:
            async with self.uow.as_caller(person.caller(claim.tenant_id, claim.user_id)) as tx:
                readable = await tx.exports.find_readable()
            whose = replace(whose, key_ids=tuple(person.keys), collection_ids=tuple(readable))
        for source in (self.chats, *self.others) if claim.has_chats else self.others:
            await self._copy_rows(archive, source, whose)
        missing = [str(file.document_id) async for file in self._copy_files(archive, whose)]
        about = {"export_id": str(claim.id), "tenant_id": claim.tenant_id, "missing_files": missing}
        await archive.close(about | {"user_id": None if claim.user_id is None else str(claim.user_id)})

    async def _copy_rows(
        self, archive: Archive, source: Source, whose: Exported, person: _Person | None = None
    ) -> None:
        """Copy what a source tells, a file of the archive for each of its tables; `person` gets what is to be known."""
        done: set[str] = set()
        async with aclosing(source.lines(whose)) as lines, aclosing(read_rows(lines)) as rows:
            said = await anext(rows)
            while isinstance(said, ExportedRow):
                reader = _OneFile(rows, said, person)
                done.add(said.file)
                await archive.add(f"{said.file}.ndjson", reader.chunks())
                said = reader.next
        for empty in sorted(said - done):
            await archive.add(f"{empty}.ndjson", _nothing())

    async def _copy_files(self, archive: Archive, whose: Exported) -> AsyncIterator[StoredFile]:
        """Copy the originals; yields those that are not in the store any more."""
        after: UUID | None = None
        while True:
            async with self.uow(whose.tenant_id) as tx:
                files = await tx.exports.list_files(whose, after=after, limit=_FILES_AT_ONCE)
            for file in files:
                # no name of a user's is a path: it stands in documents.ndjson
                path = f"files/{file.document_id}.{_EXTENSIONS.get(file.media_type, 'bin')}"
                try:
                    content = await self.blobs.open(file.blob_key)
                except BlobMissing:
                    yield file
                    continue
                await archive.add(path, content.chunks, is_packed=True)
            if len(files) < _FILES_AT_ONCE:
                return
            after = files[-1].document_id


@dataclass(slots=True)
class _Person:
    """What auth tells of a person, as far as it says what others have to tell."""

    role: str | None = None
    groups: list[UUID] = field(default_factory=list)
    keys: list[UUID] = field(default_factory=list)

    def note(self, file: str, row: dict[str, Any]) -> None:
        match file:
            case "users":
                self.role = row["role"]
            case "groups":
                self.groups.append(UUID(row["id"]))
            case "api_keys":
                self.keys.append(UUID(row["id"]))

    def caller(self, tenant_id: TenantId, user_id: UUID) -> Caller:
        """The person as who asks; who is not there any more has no role, and reads nothing."""
        return Caller(tenant_id, "user", user_id, role=self.role, groups=frozenset(self.groups))


class _OneFile:
    """The rows of one file out of a stream of several, and what comes after them."""

    def __init__(
        self, rows: AsyncIterator[ExportedRow | frozenset[str]], first: ExportedRow, person: _Person | None
    ) -> None:
        self._rows = rows
        self._person = person
        self.next: ExportedRow | frozenset[str] = first

    async def chunks(self) -> AsyncIterator[bytes]:
        """The rows as lines, many at once."""
        assert isinstance(self.next, ExportedRow)
        file, lines, size = self.next.file, [], 0
        while isinstance(self.next, ExportedRow) and self.next.file == file:
            if self._person is not None:
                self._person.note(file, self.next.row)
            lines.append(orjson.dumps(self.next.row, option=orjson.OPT_APPEND_NEWLINE))
            size += len(lines[-1])
            if size >= _TOGETHER:
                yield b"".join(lines)
                lines, size = [], 0
            self.next = await anext(self._rows)
        yield b"".join(lines)


async def _nothing() -> AsyncIterator[bytes]:
    yield b""
