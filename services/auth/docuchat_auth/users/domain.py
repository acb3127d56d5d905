"""A user: a person of one tenant."""

from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from docuchat_common.contracts.permissions import Role
from docuchat_common.ids import TenantId, UserId

Email = NewType("Email", str)
"""An address as it is stored and compared: valid, ASCII, lower case."""


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Which users of a tenant are wanted; what is None does not matter."""

    email: Email | None = None
    user_id: UserId | None = None


@dataclass(frozen=True, slots=True)
class User:
    """One person of one tenant; the same address in two tenants is two users."""

    tenant_id: TenantId
    id: UserId
    email: Email
    role: Role
    is_active: bool
    version: int
    """Grows with each change of what the user may do; tokens of an older one are refused."""
    created_at: datetime
    last_login_at: datetime | None
