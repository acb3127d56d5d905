"""Entries of the audit log, and the chain that shows when one was changed or taken away."""

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

import orjson

from docuchat_common.ids import TenantId

NO_HASH: Final = bytes(32)
"""What the first entry of a chain follows."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What was done: ids and names of ours."""

    chain: TenantId
    """The tenant whose log it is in; 0 is the installation's, with what operators and commands do."""
    event_id: UUID
    at: datetime
    tenant_id: int
    """The tenant that it concerns."""
    subject_type: str
    subject_id: UUID | None
    action: str
    object_type: str
    object_id: str | None
    result: str
    address: str | None
    request_id: str | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain. Kept elsewhere, it shows when the end was cut off."""

    seq: int = 0
    hash: bytes = NO_HASH


@dataclass(frozen=True, slots=True)
class Link:
    """An entry at its place in its chain."""

    seq: int
    entry: Entry
    prev_hash: bytes
    hash: bytes
    address_salt: bytes | None = None
    """None when the address was taken away, and in entries of before that could be done."""
    address_digest: bytes | None = None

    @classmethod
    def after(cls, head: Head, entry: Entry) -> "Link":
        """`entry` as what follows `head`."""
        seq, salt = head.seq + 1, secrets.token_bytes(16)
        digest = _digest(salt, entry.address)
        return cls(seq, entry, head.hash, hash_of(seq, entry, head.hash, digest), salt, digest)

    @property
    def holds(self) -> bool:
        """Whether it is as it was booked, but for an address that was taken away."""
        if self.address_digest is not None:
            address = self.entry.address
            told = None if self.address_salt is None else _digest(self.address_salt, address)
            if told != self.address_digest and (told is not None or address is not None):
                return False
        return self.hash == hash_of(self.seq, self.entry, self.prev_hash, self.address_digest)


@dataclass(frozen=True, slots=True)
class Break:
    """Where a chain does not hold."""

    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found in a part of a chain."""

    checked: int
    head: Head
    breaks: tuple[Break, ...]
    is_whole: bool
    """Whether the end of the chain was reached."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries are wanted; None is any."""

    actor: UUID | None = None
    action: str | None = None
    object_type: str | None = None
    object_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def _digest(salt: bytes, address: str | None) -> bytes:
    return sha256(salt + (address or "").encode()).digest()


def hash_of(seq: int, entry: Entry, prev_hash: bytes, address_digest: bytes | None) -> bytes:
    """The SHA-256 of the entry in canonical JSON (sorted keys, UTC), after the hash of the one before.

    In place of the address it has its salted digest, so that the address can be taken away and the chain stays whole.
    """
    fields = asdict(entry) | {"seq": seq, "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds")}
    if address_digest is not None:
        del fields["address"]
        fields["address_digest"] = address_digest.hex()
    return sha256(prev_hash + orjson.dumps(fields, default=str, option=orjson.OPT_SORT_KEYS)).digest()


def breaks_in(links: Iterable[Link], head: Head) -> Iterator[Break]:
    """Where `links`, the next after `head` by number, do not follow from one another."""
    for link in links:
        if link.seq != head.seq + 1:
            yield Break(link.seq, f"entries {head.seq + 1} to {link.seq - 1} are missing")
        elif link.prev_hash != head.hash:
            yield Break(link.seq, "it does not follow the entry before it")
        if not link.holds:
            yield Break(link.seq, "it was changed")
        head = Head(link.seq, link.hash)
