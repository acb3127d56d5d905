"""Bodies about users."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from docuchat_auth.tenants.domain import Tenant
from docuchat_auth.users.addresses import parse_address
from docuchat_auth.users.domain import User
from docuchat_common.contracts.permissions import Role
from docuchat_common.http.json_body import Name, StrictBody

_LONGEST_ADDRESS = 254


Address = Annotated[
    str,
    Field(
        min_length=3, max_length=_LONGEST_ADDRESS, json_schema_extra={"format": "email"}, examples=["user@example.com"]
    ),
    AfterValidator(parse_address),
]


ChangedAt = Annotated[
    datetime,
    Field(
        description="When an address, a name, the role or whether the user may sign in was last changed, else "
        "`created_at`; a sign-in, another password or another factor changes no user."
    ),
]


class OwnChange(StrictBody):
    """What users change of themselves."""

    name: Name = Field(examples=["Ann Example"])


class TenantView(BaseModel):
    """The user's tenant."""

    id: int = Field(examples=[1])
    customer_id: UUID
    slug: str = Field(examples=["demo"])
    name: str = Field(examples=["Demo"])


class Me(BaseModel):
    """The signed-in user."""

    id: UUID
    email: str | None = Field(examples=["user@example.com"])
    email_verified: bool = Field(description="Whether the address is proven to be the user's own.")
    username: str | None
    name: str | None = Field(examples=["Ann Example"])
    role: Role
    tenant: TenantView
    created_at: datetime
    updated_at: ChangedAt

    @classmethod
    def of(cls, user: User, tenant: Tenant) -> "Me":
        """Present a user."""
        return cls(
            id=user.id,
            email=user.email or user.claimed_email,
            email_verified=user.email is not None,
            username=user.username,
            name=user.name,
            role=user.role,
            tenant=TenantView(id=tenant.id, customer_id=tenant.customer_id, slug=tenant.slug, name=tenant.name),
            created_at=user.created_at,
            updated_at=user.updated_at,
        )


class UserView(BaseModel):
    """A user as those who manage users see it."""

    id: UUID
    email: str | None = Field(examples=["user@example.com"], description="Proven; null while it is not.")
    username: str | None
    name: str | None
    role: Role
    is_active: bool
    created_at: datetime
    updated_at: ChangedAt
    last_login_at: datetime | None

    @classmethod
    def of(cls, user: User) -> Self:
        """Present a user."""
        return cls(
            id=user.id,
            email=user.email,
            username=user.username,
            name=user.name,
            role=user.role,
            is_active=user.is_active,
            created_at=user.created_at,
            updated_at=user.updated_at,
            last_login_at=user.last_login_at,
        )
