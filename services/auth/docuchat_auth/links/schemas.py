"""Bodies about links to identity providers."""

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_auth.federated_logins.domain import LinkedIdentity


class LinkedIdentityView(BaseModel):
    """Who a user is at an identity provider: whoever the provider says it is signs in as the user."""

    provider_id: UUID
    subject: str = Field(description="The provider's name of the person.")
    linked_at: datetime

    @classmethod
    def of(cls, linked: LinkedIdentity) -> Self:
        """Present a link."""
        return cls(provider_id=linked.provider_id, subject=linked.subject, linked_at=linked.linked_at)


class LinkedIdentityList(BaseModel):
    """All links of a user, the oldest first."""

    items: list[LinkedIdentityView]
