"""An identity provider of a tenant, and the rules for whom it brings."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from docuchat_common.contracts.permissions import Role
from docuchat_common.ids import TenantId

MOST_PROVIDERS: Final = 20
"""Of one tenant."""
DEFAULT_SCOPES: Final = ("openid", "email", "profile")
CALLBACK: Final = "/v1/auth/oidc/callback"
_RANKS: Final = (Role.VIEWER, Role.MEMBER, Role.ADMIN)
"""The roles that a provider may give, the least first: it makes no owners."""


@dataclass(frozen=True, slots=True)
class JoinRule:
    """Who becomes a user by signing in for the first time."""

    is_enabled: bool = False
    role: Role = Role.MEMBER
    domains: frozenset[str] = frozenset()
    """Only people with a confirmed address there; empty: whomever the provider lets in."""

    def admits(self, email: str, *, is_verified: bool) -> bool:
        """Whether somebody with this address, confirmed by the provider or not, may join."""
        return self.is_enabled and (not self.domains or (is_verified and domain_of(email) in self.domains))


@dataclass(frozen=True, slots=True)
class GroupMapping:
    """What somebody gets in whose claim a value stands."""

    value: str
    group_id: UUID | None
    role: Role | None


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """A provider that speaks OpenID Connect. Its issuer stays what it is: it says whose subjects the accounts are."""

    tenant_id: TenantId
    id: UUID
    name: str
    issuer: str
    client_id: str
    sealed_secret: bytes | None = field(repr=False)
    """None for a client without a secret."""
    scopes: tuple[str, ...]
    is_active: bool
    join: JoinRule
    groups_claim: str
    mappings: tuple[GroupMapping, ...]
    links_owners: bool
    """Whether an owner's account may be found by its address: who manages the provider could sign in as the owner."""
    created_at: datetime

    @property
    def mapped_groups(self) -> frozenset[UUID]:
        """The groups that the provider decides about."""
        return frozenset(mapping.group_id for mapping in self.mappings if mapping.group_id is not None)

    def groups_for(self, values: frozenset[str]) -> frozenset[UUID]:
        """The groups of somebody with these values."""
        return frozenset(one.group_id for one in self.mappings if one.group_id is not None and one.value in values)

    def role_for(self, values: frozenset[str]) -> Role | None:
        """The greatest role that one of these values gives, else that of newcomers; None: roles are not mapped."""
        if all(mapping.role is None for mapping in self.mappings):
            return None
        given = {mapping.role for mapping in self.mappings if mapping.value in values}
        return next((role for role in reversed(_RANKS) if role in given), self.join.role)


def callback_of(public_url: str, provider_id: UUID) -> str:
    """Where a provider sends browsers back to: no two have the same, nor each other's codes (RFC 9700 §4.4.2)."""
    return f"{public_url}{CALLBACK}/{provider_id}"


def domain_of(email: str) -> str:
    """What stands behind the `@`."""
    return email.rpartition("@")[2]


def with_openid(scopes: Iterable[str]) -> tuple[str, ...]:
    """Scopes in their order, `openid` among them, each once."""
    return tuple(dict.fromkeys(("openid", *scopes)))
