"""What is changed of a tenant's user."""

from dataclasses import dataclass

from docuchat_auth.users.domain import User
from docuchat_common.contracts.permissions import Role


@dataclass(frozen=True, slots=True)
class MemberChange:
    """What a user is to be; None leaves it as it is."""

    role: Role | None = None
    is_active: bool | None = None

    def makes_or_breaks_an_owner(self, user: User) -> bool:
        """Whether this is about an owner, as `user` is or is to be."""
        return Role.OWNER in {user.role, self.role}

    def is_owner_after(self, user: User) -> bool:
        """Whether `user` is an active owner then."""
        is_active = user.is_active if self.is_active is None else self.is_active
        return is_active and (self.role or user.role) is Role.OWNER
