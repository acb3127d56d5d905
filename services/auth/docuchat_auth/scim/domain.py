"""What a directory says of people and groups (RFC 7643), as far as it counts here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from docuchat_auth.groups.domain import Group
from docuchat_auth.users.domain import User

MOST_ITEMS: Final = 200
"""Of one page."""
MOST_MEMBERS: Final = 1000
"""Of one request, and of a group as it is shown."""


@dataclass(frozen=True, slots=True)
class Filter:
    """The one kind of question that directories ask: which object has this value."""

    attribute: Literal["id", "name", "external_id"]
    value: str


@dataclass(frozen=True, slots=True)
class UserChange:
    """What a user is to be; None leaves it as it is."""

    user_name: str | None = None
    name: str | None = None
    is_active: bool | None = None
    external_id: str | None = None

    def besides(self, present: "ScimUser") -> "UserChange":
        """What of it is not so already; a `userName` never changes."""
        return UserChange(
            name=None if self.name == present.user.name else self.name,
            is_active=None if self.is_active is present.user.is_active else self.is_active,
            external_id=None if self.external_id == present.external_id else self.external_id,
        )


@dataclass(frozen=True, slots=True)
class MemberChange:
    """Who comes to a group and who goes."""

    adds: frozenset[UUID] = frozenset()
    removes: frozenset[UUID] = frozenset()
    replaces: frozenset[UUID] | None = None
    """Who is to be in it, and nobody else."""


@dataclass(frozen=True, slots=True)
class GroupChange:
    """What a group is to be; None leaves it as it is."""

    name: str | None = None
    external_id: str | None = None
    members: MemberChange = MemberChange()


@dataclass(frozen=True, slots=True)
class ScimUser:
    """A user with the directory's name for it."""

    user: User
    external_id: str | None


@dataclass(frozen=True, slots=True)
class ScimGroup:
    """A group, with its members where they were asked for."""

    group: Group
    external_id: str | None
    members: Sequence[UUID]


def user_name_of(user: User) -> str:
    """What the directory calls `userName`."""
    return user.email or user.claimed_email or user.username or str(user.id)
