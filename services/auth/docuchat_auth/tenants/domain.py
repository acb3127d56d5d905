"""A tenant, and how clients refer to it."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, NewType
from uuid import UUID

from docuchat_common.ids import TenantId

Slug = NewType("Slug", str)

# A slug is a DNS label that is neither a number nor a UUID, so that X-Tenant-ID can take any without doubt.
_SLUG = re.compile(r"(?!\d+\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_TENANT_ID = re.compile(r"[1-9]\d{0,9}\Z", re.ASCII)
_MAX_TENANT_ID = 2**31 - 1
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\Z")
_DOMAIN = re.compile(r"(?=.{4,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]\Z")


TenantState = Literal["active", "suspended", "deleting"]


class SignUpMode(StrEnum):
    """Who may become a member without being asked to."""

    INVITE = "invite"
    DOMAINS = "domains"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class SignUp:
    """A tenant's rule for those whom nobody has invited."""

    mode: SignUpMode
    domains: frozenset[str] = frozenset()
    """Domains of mail whose people may join, proven to be the tenant's."""

    def admits(self, email: str | None) -> bool:
        """Whether whoever has proven to own this address, or has proven nothing (None), may become a member."""
        if self.mode is SignUpMode.OPEN:
            return True
        return self.mode is SignUpMode.DOMAINS and email is not None and email.rpartition("@")[2] in self.domains

    @property
    def is_open(self) -> bool:
        """Whether anybody may join."""
        return self.mode is SignUpMode.OPEN


@dataclass(frozen=True, slots=True)
class Retention:
    """For how many days a tenant keeps what its people make; None for ever."""

    chats_days: int | None = None
    """After the last message."""
    documents_days: int | None = None
    """After the upload."""

    def is_shorter_than(self, other: "Retention") -> bool:
        """Whether something is kept for less time."""
        return self.longest(other) != self

    def longest(self, other: "Retention") -> "Retention":
        """Of each kind the longer time."""
        return Retention(_longer(self.chats_days, other.chats_days), _longer(self.documents_days, other.documents_days))


ANY_TENANT: Final = TenantId(-1)
"""Where nobody said which tenant is meant: that in which the person is found. Row-level security shows it no rows."""
INVITED_ONLY: Final = SignUp(SignUpMode.INVITE)
OPEN: Final = SignUp(SignUpMode.OPEN)


@dataclass(frozen=True, slots=True)
class Tenant:
    """One customer company."""

    id: TenantId
    customer_id: UUID
    slug: Slug
    name: str
    signup: SignUp
    suspended_at: datetime | None
    """Since when nothing but reading is allowed."""
    deletes_at: datetime | None
    """When it is deleted; until then nothing but reading is allowed, and its owner or an operator may take it back."""
    retention: Retention
    next_retention: Retention | None
    """What is shorter takes its place at `retention_changes_at`; until then that can be taken back."""
    retention_changes_at: datetime | None
    require_second_factor: bool
    """Whether who has no second factor may do nothing but set one up."""
    created_at: datetime

    @property
    def state(self) -> TenantState:
        """What may be done in it."""
        if self.deletes_at is not None:
            return "deleting"
        return "active" if self.suspended_at is None else "suspended"

    def admits(self, email: str | None) -> bool:
        """As its `signup` does; while nothing but reading is allowed it takes nobody."""
        return self.state == "active" and self.signup.admits(email)


TenantReference = TenantId | UUID | Slug


def _longer(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)


def parse_tenant_reference(reference: str) -> TenantReference | None:
    """Read a tenant's number, customer id (a UUID) or slug as clients send it; None when it can be none of them."""
    reference = reference.strip()
    if _UUID.match(reference.lower()):
        return UUID(reference)
    if _TENANT_ID.match(reference):
        number = int(reference)
        return TenantId(number) if number <= _MAX_TENANT_ID else None
    return Slug(reference) if _SLUG.match(reference) else None


def parse_domain(text: str) -> str | None:
    """A domain of mail in lower-case ASCII, or None."""
    domain = text.strip().lower()
    return domain if _DOMAIN.match(domain) else None


def parse_slug(text: str) -> Slug | None:
    """A valid slug, or None."""
    return Slug(text) if _SLUG.match(text) and not _UUID.match(text) else None
