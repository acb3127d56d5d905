"""The audit log as its readers see it."""

import csv
import io
from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_auth.audit.domain import Link, Verification


class AuditEntry(BaseModel):
    """Who did what to which object, from where, with which result."""

    seq: int = Field(description="Its place in the chain, without gaps.")
    id: UUID
    at: datetime
    tenant_id: int = Field(description="The tenant that it concerns; 0 is none.")
    actor_type: str = Field(examples=["user"])
    actor_id: UUID | None
    action: str = Field(examples=["document.delete"])
    object_type: str = Field(examples=["document"])
    object_id: str | None
    result: str = Field(examples=["done"], description="`done`, `refused` or `failed`.")
    address: str | None = Field(description="Of an IPv6 client its /64.")
    request_id: str | None
    detail: str | None
    hash: str = Field(description="SHA-256 over the entry and the hash of the one before.")

    @classmethod
    def of(cls, link: Link) -> "AuditEntry":
        """Present an entry."""
        entry = link.entry
        return cls(
            seq=link.seq,
            id=entry.event_id,
            at=entry.at,
            tenant_id=entry.tenant_id,
            actor_type=entry.subject_type,
            actor_id=entry.subject_id,
            action=entry.action,
            object_type=entry.object_type,
            object_id=entry.object_id,
            result=entry.result,
            address=entry.address,
            request_id=entry.request_id,
            detail=entry.detail,
            hash=link.hash.hex(),
        )


class AuditBreak(BaseModel):
    """Where a chain does not hold."""

    seq: int
    reason: str = Field(examples=["it was changed"])


class AuditVerification(BaseModel):
    """Whether the entries of a chain follow from one another."""

    holds: bool
    checked: int
    breaks: list[AuditBreak]
    head_seq: int = Field(description="The last entry that was looked at.")
    head_hash: str = Field(description="Its hash. Kept elsewhere, it shows when the end was cut off.")
    next_after: int | None = Field(description="Send it as `after` to go on; null at the end of the chain.")

    @classmethod
    def of(cls, found: Verification) -> "AuditVerification":
        """Present what was found."""
        return cls(
            holds=not found.breaks,
            checked=found.checked,
            breaks=[AuditBreak(seq=one.seq, reason=one.reason) for one in found.breaks],
            head_seq=found.head.seq,
            head_hash=found.head.hash.hex(),
            next_after=None if found.is_whole else found.head.seq,
        )


_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
CSV_COLUMNS: Final = tuple(AuditEntry.model_fields)


def csv_line(values: list[str]) -> bytes:
    """One line of CSV (RFC 4180), in which no spreadsheet finds a formula."""
    line = io.StringIO()
    csv.writer(line).writerow([f"'{value}" if value.startswith(_FORMULA) else value for value in values])
    return line.getvalue().encode()


def csv_of(link: Link) -> bytes:
    """An entry as a line of CSV."""
    fields = AuditEntry.of(link).model_dump(mode="json")
    return csv_line(["" if fields[name] is None else str(fields[name]) for name in CSV_COLUMNS])
