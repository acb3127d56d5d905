"""What auth knows: tenants, users, refresh tokens and signing keys, and the rules that need no input or output."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, NewType, Self
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

from docuchat_common.ids import TenantId, UserId

Email = NewType("Email", str)
"""An address as it is stored and compared: valid, ASCII, lower case."""

Slug = NewType("Slug", str)

CODE_DIGITS = 6

# A slug is a DNS label that is not a number, so that X-Tenant-ID can take either without doubt.
_SLUG = re.compile(r"(?!\d+\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_TENANT_ID = re.compile(r"[1-9]\d{0,9}\Z", re.ASCII)
_MAX_TENANT_ID = 2**31 - 1


class Role(StrEnum):
    """What a user may do inside the own tenant."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"


class SigningAlgorithm(StrEnum):
    """JOSE names of the only two algorithms that tokens are signed with (RFC 8725 §3.2)."""

    EDDSA = "EdDSA"
    ES256 = "ES256"


class Redemption(StrEnum):
    """What became of one guess at a sign-in code."""

    ACCEPTED = "accepted"
    WRONG = "wrong"
    EXHAUSTED = "exhausted"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Tenant:
    """One customer company."""

    id: TenantId
    slug: Slug
    name: str
    signup_open: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class User:
    """One person of one tenant; the same address in two tenants is two users."""

    tenant_id: TenantId
    id: UserId
    email: Email
    role: Role
    is_active: bool
    created_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class Account:
    """The thing that a code signs in to; it may exist before its user does."""

    tenant_id: TenantId
    email: Email


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One link of a chain of refresh tokens. Only the hash of the token itself is ever stored."""

    id: UUID
    tenant_id: TenantId
    user_id: UserId
    family_id: UUID
    parent_id: UUID | None
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair. It signs from `not_before` until `retired_at` and is published until its last token has expired."""

    kid: str
    algorithm: SigningAlgorithm
    public_jwk: Mapping[str, str]
    sealed_private_key: bytes
    created_at: datetime
    not_before: datetime
    retired_at: datetime | None

    def signs_at(self, moment: datetime) -> bool:
        """Whether new tokens may be signed with it."""
        return self.not_before <= moment and (self.retired_at is None or moment < self.retired_at)

    def is_published_at(self, moment: datetime, token_lifetime: timedelta) -> bool:
        """Whether verifiers must still find it: before its first token and until its last one has expired."""
        return self.retired_at is None or moment < self.retired_at + token_lifetime


def key_to_sign_with(keys: Iterable[SigningKey], moment: datetime) -> SigningKey | None:
    """The youngest key that signs now."""
    return max((key for key in keys if key.signs_at(moment)), key=lambda key: (key.not_before, key.kid), default=None)


@dataclass(frozen=True, slots=True)
class CodeRequest:
    """A code on its way to its owner. Kept in memory only."""

    account: Account
    code: str


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a sign-in or a refresh yields."""

    access_token: str
    expires_in: timedelta
    refresh_token: str


def parse_tenant_reference(reference: str) -> TenantId | Slug | None:
    """Reads a tenant id or slug as clients send it; None when it can be neither."""
    reference = reference.strip()
    if _TENANT_ID.match(reference):
        number = int(reference)
        return TenantId(number) if number <= _MAX_TENANT_ID else None
    return Slug(reference) if _SLUG.match(reference) else None


def parse_slug(text: str) -> Slug | None:
    """A valid slug, or None."""
    return Slug(text) if _SLUG.match(text) else None


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where and how mail is handed in."""

    host: str
    port: int
    username: str | None
    password: str | None
    security: Literal["tls", "starttls", "opportunistic", "none"]

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Reads `smtp://[user:password@]host[:port][?starttls=always|auto|never]` or `smtps://…`.

        Raises ValueError with a message. Credentials are never sent in the clear: with them STARTTLS is `always`
        unless the URL says `never`; without them it is used where it is offered.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError("must look like smtp://user:password@host:587 or smtps://user:password@host:465")
        starttls = parse_qs(parts.query).get("starttls", [None])[-1]
        security: Literal["tls", "starttls", "opportunistic", "none"]
        match (parts.scheme, starttls):
            case ("smtps", None):
                security = "tls"
            case ("smtp", "always"):
                security = "starttls"
            case ("smtp", "never"):
                security = "none"
            case ("smtp", "auto"):
                security = "opportunistic"
            case ("smtp", None):
                security = "starttls" if parts.username else "opportunistic"
            case _:
                raise ValueError("starttls is always, auto or never, and only with smtp://")
        return cls(
            host=parts.hostname,
            port=parts.port or {"tls": 465}.get(security, 587 if parts.username else 25),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            security=security,
        )


def limited_address(address: str) -> str:
    """The address as it is counted: an IPv6 client has a whole /64, so that is what counts."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
