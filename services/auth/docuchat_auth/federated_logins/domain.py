"""A sign-in by an identity provider, from its start to what the provider said."""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from docuchat_auth.users.domain import Email
from docuchat_common.ids import TenantId

FLOW_LIFETIME: Final = timedelta(minutes=10)
"""From the start to the way back."""
CODE_LIFETIME: Final = timedelta(minutes=1)
"""From the way back to the exchange."""


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """What a provider tells of itself (OpenID Connect Discovery)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    names_itself: bool
    """Whether its answers say who gave them (RFC 9207)."""
    takes_basic: bool
    """Whether it takes the client's secret in the header, else in the form."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A sign-in whose browser is at the provider."""

    tenant_id: TenantId
    provider_id: UUID
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    """Of PKCE between us and the provider."""
    browser: str = field(repr=False)
    """SHA-256 of the cookie that the browser was given."""
    return_to: str
    challenge: str
    """Of PKCE between the front end and us."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as the provider knows them."""

    subject: str
    email: Email | None
    email_is_verified: bool
    name: str | None
    values: frozenset[str] | None
    """Of the claim with groups; None when the provider did not say all of them."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may have tokens for showing a code and the front end's verifier."""

    tenant_id: TenantId
    provider_id: UUID
    challenge: str
    person: Person


@dataclass(frozen=True, slots=True)
class LinkedIdentity:
    """Who a user is at a provider: whoever that provider says it is signs in as the user."""

    provider_id: UUID
    subject: str
    linked_at: datetime


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a browser is sent, and the cookie by which it is known when it comes back, or which it loses then."""

    url: str
    cookie_name: str
    cookie: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """What a browser brings back from a provider."""

    code: str | None = field(repr=False)
    state: str | None = field(repr=False)
    issuer: str | None
    error: str | None


def new_secret() -> str:
    """256 random bits, of the characters that PKCE allows."""
    return secrets.token_urlsafe(32)


def challenge_of(verifier: str) -> str:
    """RFC 7636, S256."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def name_of(secret: str) -> str:
    """What is kept of a secret, and may be seen."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_same(one: str, other: str) -> bool:
    """Compare in a time that tells nothing."""
    return hmac.compare_digest(one.encode(), other.encode())
