"""Bodies about identity providers."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator

from docuchat_auth.identity_providers.domain import (
    DEFAULT_SCOPES,
    GroupMapping,
    IdentityProvider,
    JoinRule,
    callback_of,
    with_openid,
)
from docuchat_auth.tenants.domain import parse_domain
from docuchat_common.contracts.permissions import Role
from docuchat_common.http.json_body import Flag, Name, StrictBody

GivenRole = Literal[Role.ADMIN, Role.MEMBER, Role.VIEWER]
"""A provider makes no owners."""


def _domain(text: str) -> str:
    if (domain := parse_domain(text)) is None:
        raise ValueError("is no domain of mail; one looks like acme.example")
    return domain


Domain = Annotated[str, Field(min_length=4, max_length=253, examples=["acme.example"]), AfterValidator(_domain)]
_Visible = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
Scope = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$")]
Issuer = Annotated[
    str,
    Field(
        min_length=8,
        max_length=500,
        pattern=r"^https?://[\x21\x22\x24-\x3e\x40-\x7e]+$",
        examples=["https://login.example.com/acme"],
        description="As its tokens say it. It stays: another issuer is another provider.",
    ),
]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=500, description="Kept sealed and never shown.")]


class JoinRuleBody(StrictBody):
    """Who becomes a user by signing in for the first time ("just in time")."""

    enabled: Flag = False
    default_role: GivenRole = Role.MEMBER
    domains: list[Domain] = Field(
        default_factory=list,
        max_length=50,
        description="Only people with a confirmed address there; none: whomever the provider lets in.",
    )

    def rule(self) -> JoinRule:
        """As the domain has it."""
        return JoinRule(self.enabled, Role(self.default_role), frozenset(self.domains))


class GroupMappingBody(StrictBody):
    """What somebody gets in whose claim a value stands."""

    value: str = Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$", examples=["legal"])
    group_id: UUID | None = None
    role: GivenRole | None = None

    @model_validator(mode="after")
    def _gives_something(self) -> Self:
        if self.group_id is None and self.role is None:
            raise ValueError("gives nothing: name a group_id, a role or both")
        return self

    def mapping(self) -> GroupMapping:
        """As the domain has it."""
        return GroupMapping(self.value, self.group_id, None if self.role is None else Role(self.role))


_Scopes = Annotated[list[Scope], Field(max_length=20, description="`openid` is always among them.")]
_Mappings = Annotated[list[GroupMappingBody], Field(max_length=200)]
_GroupsClaim = Annotated[_Visible, Field(description="The claim with the names of somebody's groups.")]
_LinksOwners = Annotated[
    Flag,
    Field(
        description="Whether an owner's account may be linked by its address: who manages the provider could then sign "
        "in as the owner. Only an owner allows it."
    ),
]


class NewIdentityProvider(StrictBody):
    """A provider that speaks OpenID Connect."""

    name: Name = Field(examples=["Acme Okta"])
    issuer: Issuer
    client_id: _Visible
    client_secret: Secret | None = Field(default=None, description="Without one PKCE alone protects the code.")
    scopes: _Scopes = Field(default=list(DEFAULT_SCOPES))
    active: Flag = True
    jit: JoinRuleBody = JoinRuleBody()
    groups_claim: _GroupsClaim = "groups"
    group_mappings: _Mappings = Field(default_factory=list)
    links_owners: _LinksOwners = False

    def fields(self) -> dict[str, Any]:
        """As the domain has it, without the secret."""
        return {
            "name": self.name,
            "issuer": self.issuer,
            "client_id": self.client_id,
            "scopes": with_openid(self.scopes),
            "is_active": self.active,
            "join": self.jit.rule(),
            "groups_claim": self.groups_claim,
            "mappings": tuple(one.mapping() for one in self.group_mappings),
            "links_owners": self.links_owners,
        }


class IdentityProviderChange(StrictBody):
    """What is to be different; what is left out stays."""

    name: Name | None = None
    client_id: _Visible | None = None
    client_secret: Secret | None = None
    scopes: _Scopes | None = None
    active: Flag | None = None
    jit: JoinRuleBody | None = None
    groups_claim: _GroupsClaim | None = None
    group_mappings: _Mappings | None = None
    links_owners: _LinksOwners | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("says nothing to change")
        return self

    def fields(self) -> dict[str, Any]:
        """As the domain has it, without the secret; only what is to be different."""
        mappings = self.group_mappings
        given = {
            "name": self.name,
            "client_id": self.client_id,
            "scopes": None if self.scopes is None else with_openid(self.scopes),
            "is_active": self.active,
            "join": None if self.jit is None else self.jit.rule(),
            "groups_claim": self.groups_claim,
            "mappings": None if mappings is None else tuple(one.mapping() for one in mappings),
            "links_owners": self.links_owners,
        }
        return {name: value for name, value in given.items() if value is not None}


class IdentityProviderView(BaseModel):
    """An identity provider of the tenant."""

    id: UUID
    name: str
    issuer: str
    client_id: str
    has_client_secret: bool
    scopes: list[str]
    active: bool
    jit: JoinRuleBody
    groups_claim: str
    group_mappings: list[GroupMappingBody]
    links_owners: bool
    redirect_uri: str = Field(
        description="To be registered at the provider.",
        examples=["https://docuchat.example/v1/auth/oidc/callback/0197c0de-0000-7000-8000-000000000001"],
    )
    start_url: str = Field(
        description="Where a sign-in begins; it needs `return_to` and `code_challenge`.",
        examples=["https://docuchat.example/v1/auth/oidc/acme/0197c0de-0000-7000-8000-000000000001/start"],
    )
    created_at: datetime

    @classmethod
    def of(cls, provider: IdentityProvider, public_url: str) -> "IdentityProviderView":
        """Present a provider."""
        join = provider.join
        return cls(
            id=provider.id,
            name=provider.name,
            issuer=provider.issuer,
            client_id=provider.client_id,
            has_client_secret=provider.sealed_secret is not None,
            scopes=list(provider.scopes),
            active=provider.is_active,
            jit=JoinRuleBody.model_construct(
                enabled=join.is_enabled, default_role=join.role, domains=sorted(join.domains)
            ),
            groups_claim=provider.groups_claim,
            group_mappings=[
                GroupMappingBody.model_construct(value=one.value, group_id=one.group_id, role=one.role)
                for one in provider.mappings
            ],
            links_owners=provider.links_owners,
            redirect_uri=callback_of(public_url, provider.id),
            start_url=f"{public_url}/v1/auth/oidc/{provider.tenant_id}/{provider.id}/start",
            created_at=provider.created_at,
        )
