"""Bodies about API keys."""

import ipaddress
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, model_validator

from docuchat_auth.api_keys.domain import LONGEST_OVERLAP, OVERLAP, ApiKey, IssuedKey, KeySecret, NewKey
from docuchat_common.contracts.permissions import Action, Role
from docuchat_common.http.json_body import Flag, Name, StrictBody


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value.strip(), strict=False))
    except ValueError:
        raise ValueError("must be an address or a network, like 192.0.2.7 or 2001:db8::/32") from None


Network = Annotated[str, Field(min_length=2, max_length=64), AfterValidator(_network)]


class NewApiKey(StrictBody):
    """A key to be made."""

    name: Name = Field(examples=["Nightly import"])
    scopes: list[Action] = Field(
        min_length=1, max_length=32, description="What it may do, of what you may do.", examples=[["documents.read"]]
    )
    expires_at: AwareDatetime | None = Field(default=None, description="None: until it is revoked.")
    addresses: list[Network] = Field(
        default_factory=list,
        max_length=50,
        description="Networks that it may be used from; none: from anywhere.",
        examples=[["192.0.2.0/24"]],
    )
    service: Flag = Field(
        default=False, description="It belongs to the tenant, not to you, and outlives your account. For admins."
    )
    role: Role | None = Field(default=None, description="Of a service's key, at most yours; without one: member.")

    @model_validator(mode="after")
    def _role_is_a_services(self) -> "NewApiKey":
        if self.role is not None and not self.service:
            raise ValueError("`role` is for a service's key; yours has your role")
        return self

    def wanted(self) -> NewKey:
        """As the domain has it."""
        return NewKey(
            name=self.name,
            scopes=frozenset(self.scopes),
            addresses=tuple(dict.fromkeys(self.addresses)),
            expires_at=self.expires_at,
            service_role=(self.role or Role.MEMBER) if self.service else None,
        )


class Rotation(StrictBody):
    """How a key gets another secret."""

    overlap_seconds: int = Field(
        default=int(OVERLAP.total_seconds()),
        ge=0,
        le=int(LONGEST_OVERLAP.total_seconds()),
        description="How long the secret that is there opens the key beside the new one.",
    )


class KeySecretView(BaseModel):
    """A secret, as far as it may be seen."""

    prefix: str = Field(examples=["dck_019a00000000700080000000000000aa_1f2e"])
    created_at: datetime
    shown_to: UUID = Field(description="Who made it, and may have kept it.")
    ends_at: datetime | None = Field(description="When it gives way to the newer one.")
    last_used_at: datetime | None = Field(description="To a few minutes.")
    last_used_from: str | None = Field(description="The client's address.", examples=["192.0.2.7"])

    @classmethod
    def of(cls, secret: KeySecret) -> "KeySecretView":
        """Present a secret."""
        return cls(
            prefix=secret.prefix,
            created_at=secret.created_at,
            shown_to=secret.shown_to,
            ends_at=secret.ends_at,
            last_used_at=secret.last_used_at,
            last_used_from=secret.last_used_from,
        )


class ApiKeyView(BaseModel):
    """An API key."""

    id: UUID
    prefix: str = Field(examples=["dck_019a00000000700080000000000000aa_1f2e"])
    name: str
    scopes: list[str]
    addresses: list[str]
    expires_at: datetime | None
    user_id: UUID | None = Field(description="Whose key it is; null: a chatbot's, or the tenant's.")
    chatbot_id: UUID | None = Field(description="The chatbot whose key it is; it opens nothing else.")
    role: Role | None = Field(description="Of a key of the tenant; one of a user has the user's.")
    created_by: UUID
    created_at: datetime
    secrets: list[KeySecretView] = Field(
        description="The newest first. After a rotation the second is the old one: its last use tells who has it still."
    )

    @classmethod
    def of(cls, key: ApiKey) -> "ApiKeyView":
        """Present a key."""
        return cls(**_members(key))


class IssuedApiKey(ApiKeyView):
    """A key with its secret, shown this once."""

    secret: str = Field(
        repr=False,
        description="Send it as `Authorization: Bearer` or `X-API-Key`. It cannot be shown again.",
        examples=["dck_019a00000000700080000000000000aa_1f2e…"],
    )

    @classmethod
    def of_issued(cls, issued: IssuedKey) -> "IssuedApiKey":
        """Present a key that was made just now."""
        return cls(**_members(issued.key), secret=issued.text)


def _members(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "prefix": key.secrets[0].prefix,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "addresses": list(key.addresses),
        "expires_at": key.expires_at,
        "user_id": key.user_id,
        "chatbot_id": key.chatbot_id,
        "role": key.role,
        "created_by": key.created_by,
        "created_at": key.created_at,
        "secrets": [KeySecretView.of(secret) for secret in key.secrets],
    }
