"""A user: a person of one tenant."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from docuchat_common.ids import TenantId, UserId

Email = NewType("Email", str)
"""An address as it is stored and compared: valid, ASCII, lower case."""


class Role(StrEnum):
    """What a user may do inside the own tenant."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"


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
    created_at: datetime
    last_login_at: datetime | None
