"""A user: a person of one tenant."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from docuchat_common.contracts.permissions import Role
from docuchat_common.ids import TenantId, UserId

Email = NewType("Email", str)
"""An address as it is stored and compared: valid, ASCII, lower case."""
Username = NewType("Username", str)
"""A name to sign in with that is no address; unique in its tenant, lower case."""
_USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}\Z")


def parse_username(text: str) -> Username | None:
    """A valid user name, or None."""
    name = text.strip().lower()
    return Username(name) if _USERNAME.match(name) else None


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Which users of a tenant are wanted; what is None does not matter."""

    email: Email | None = None
    user_id: UserId | None = None
    role: Role | None = None
    is_active: bool | None = None


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody who is about to become a user; one of the first three is there."""

    email: Email | None = None
    claimed_email: Email | None = None
    username: Username | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """One person of one tenant; the same address in two tenants is two users."""

    tenant_id: TenantId
    id: UserId
    email: Email | None
    """Proven to be the user's own; None while it is not, and of who has a user name only."""
    claimed_email: Email | None
    """Said at registration and not proven: nothing is decided by it, and nobody else is shown it as an address."""
    username: Username | None
    name: str | None
    role: Role
    is_active: bool
    version: int
    """Grows with each change of what the user may do; tokens of an older one are refused."""
    created_at: datetime
    updated_at: datetime
    """When an address, a name, the role or `is_active` was last changed; of who never was, the registration."""
    last_login_at: datetime | None
