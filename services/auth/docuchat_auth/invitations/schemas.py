"""Bodies about invitations."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_auth.invitations.domain import Invitation
from docuchat_auth.passwords.schemas import NewPassword
from docuchat_auth.users.schemas import Address
from docuchat_common.contracts.permissions import Role
from docuchat_common.http.json_body import Name, StrictBody


class InvitationBody(StrictBody):
    """Who is invited, as what."""

    email: Address
    role: Role = Role.MEMBER


class AcceptanceBody(StrictBody):
    """What came by mail, and how one wants to be called and to sign in."""

    token: str = Field(min_length=1, max_length=100, examples=["dci_1_o1tXr8e4Vf0mC4y5JmQhF2bqz0j2Dg0h8fYkq3S1xZk"])
    name: Name | None = Field(default=None, examples=["Ann Example"])
    password: NewPassword | None = Field(default=None, description="Without one, sign in by mailed codes.")


class InvitationView(BaseModel):
    """An address that may become a user."""

    id: UUID
    email: str = Field(examples=["user@example.com"])
    role: Role
    invited_by: UUID
    created_at: datetime = Field(description="When it was sent last.")
    expires_at: datetime

    @classmethod
    def of(cls, invitation: Invitation) -> "InvitationView":
        """Present an invitation."""
        return cls(
            id=invitation.id,
            email=invitation.email,
            role=invitation.role,
            invited_by=invitation.invited_by,
            created_at=invitation.created_at,
            expires_at=invitation.expires_at,
        )
