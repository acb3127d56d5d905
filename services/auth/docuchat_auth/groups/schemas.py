"""Bodies about groups."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_auth.groups.domain import Group, Membership
from docuchat_common.http.json_body import Name, StrictBody


class GroupBody(StrictBody):
    """What a group is called."""

    name: Name = Field(examples=["Legal"], description="Unique in the tenant, whatever its case.")


class GroupView(BaseModel):
    """A group of a tenant's users."""

    id: UUID
    name: str = Field(examples=["Legal"])
    members: int = Field(description="How many users are in it.")
    created_at: datetime

    @classmethod
    def of(cls, group: Group) -> "GroupView":
        """Present a group."""
        return cls(id=group.id, name=group.name, members=group.members, created_at=group.created_at)


class MembershipView(BaseModel):
    """A user's place in a group."""

    user_id: UUID
    added_at: datetime

    @classmethod
    def of(cls, membership: Membership) -> "MembershipView":
        """Present a membership."""
        return cls(user_id=membership.user_id, added_at=membership.added_at)
