"""Bodies about a tenant's people."""

from typing import Self

from pydantic import Field, model_validator

from docuchat_auth.members.domain import MemberChange
from docuchat_common.contracts.permissions import Role
from docuchat_common.http.json_body import Flag, StrictBody


class MemberChangeBody(StrictBody):
    """What a user is to be; what is left out stays."""

    role: Role | None = None
    active: Flag | None = Field(default=None, description="A user who is not active cannot sign in.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.role is None and self.active is None:
            raise ValueError("needs a role, active, or both")
        return self

    def change(self) -> MemberChange:
        """What the body says."""
        return MemberChange(self.role, self.active)
