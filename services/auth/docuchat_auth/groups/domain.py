"""A group of a tenant's users."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from docuchat_common.ids import TenantId, UserId

MOST_GROUPS: Final = 100
"""Of one user: all of them stand in each access token."""


@dataclass(frozen=True, slots=True)
class Group:
    """Users of a tenant under one name."""

    tenant_id: TenantId
    id: UUID
    name: str
    members: int
    """How many."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Membership:
    """A user's place in a group."""

    user_id: UserId
    added_at: datetime
