"""Token pairs, and refresh tokens in chains."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from docuchat_auth.users.domain import User
from docuchat_common.ids import TenantId, UserId, made_at
from docuchat_common.rate_limits import Rates

MOST_SESSIONS: Final = 50
"""Of one user: whoever signs in once more ends the one that was not used for longest."""


class SignInMethod(StrEnum):
    """How somebody proved to be who they are when a session began."""

    CODE = "code"
    PASSWORD = "password"  # noqa: S105 - the name of a method
    REGISTRATION = "registration"
    INVITATION = "invitation"
    PASSKEY = "passkey"
    OIDC = "oidc"

    @property
    def is_enough(self) -> bool:
        """Whether no second factor is asked for: a passkey is two in one, and a provider asks for its own."""
        return self in {SignInMethod.PASSKEY, SignInMethod.OIDC}


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How long sessions last, and how often each may be refreshed."""

    refresh_lifetime: timedelta
    """A session ends that was not refreshed for so long."""
    longest: timedelta | None
    """It ends at this age however often it was; None: never."""
    refreshes: Rates
    """Of one session."""

    def ends_at(self, began: datetime, moment: datetime) -> datetime:
        """When a session ends that is refreshed at `moment` and not again."""
        idle = moment + self.refresh_lifetime
        return idle if self.longest is None else min(idle, began + self.longest)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from."""

    device: str = ""
    """What the client says of itself, shortened."""
    address: str = ""


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One link of a chain of refresh tokens. Only the hash of the token itself is ever stored."""

    id: UUID
    tenant_id: TenantId
    user_id: UserId
    family_id: UUID
    method: SignInMethod
    """Of the sign-in that began the family."""
    parent_id: UUID | None
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None
    factor_shown: bool
    """Whether a second factor was shown, or set up, in the family."""
    origin: Origin = Origin()
    """Of the request that brought it."""

    def is_fresh_at(self, moment: datetime) -> bool:
        """Whether it can be used and never was."""
        return self.used_at is None and self.revoked_at is None and moment < self.expires_at


@dataclass(frozen=True, slots=True)
class Session:
    """A sign-in of a user, as the next pair of tokens tells it."""

    id: UUID
    """The family of its refresh tokens."""
    user: User
    groups: Sequence[UUID]
    refresh_token: str
    scopes: frozenset[str] | None = None
    """What it may do; None: all that the user's role may."""


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A sign-in that can still be refreshed."""

    id: UUID
    """The family of its refresh tokens."""
    last_used_at: datetime
    """When it was begun or last refreshed."""
    expires_at: datetime
    origin: Origin

    @property
    def created_at(self) -> datetime:
        return made_at(self.id)


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a sign-in or a refresh yields."""

    access_token: str
    expires_in: timedelta
    refresh_token: str
    scopes: frozenset[str] | None = None
    """As of the session."""


def hash_refresh_token(token: str) -> bytes:
    """What is stored of a refresh token. It has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).digest()


def successor_of(token: str, key: bytes) -> str:
    """The refresh token that follows `token`. Whoever knows the one does not know the other without the key."""
    return base64.urlsafe_b64encode(hmac.digest(key, token.encode(), "sha256")).rstrip(b"=").decode()
