"""People, groups, collections, keys and sessions, as frozen models."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from docuchat_client.models import Model

Role = Literal["owner", "admin", "member", "viewer"]
Visibility = Literal["tenant", "restricted"]
Access = Literal["read", "write", "manage"]


class Member(Model):
    """A user of the tenant, as admins see it."""

    id: UUID
    email: str | None = None
    username: str | None = None
    name: str | None = None
    role: str
    is_active: bool = True
    created_at: datetime
    updated_at: datetime | None = None
    last_login_at: datetime | None = None

    @property
    def called(self) -> str:
        """The address, else the user name."""
        return self.email or self.username or str(self.id)


class Invitation(Model):
    """An address that may become a user."""

    id: UUID
    email: str
    role: str
    invited_by: UUID
    created_at: datetime
    expires_at: datetime


class Group(Model):
    """A group of users."""

    id: UUID
    name: str
    members: int
    created_at: datetime


class Membership(Model):
    """A user's place in a group."""

    user_id: UUID
    added_at: datetime


class Collection(Model):
    """A set of documents, and what one may do in it."""

    id: UUID
    name: str
    visibility: str
    is_default: bool = False
    access: str
    documents: int
    created_by: UUID | None = None
    created_at: datetime


class CollectionMember(Model):
    """A user, a group or an API key that a collection is open to."""

    id: UUID
    access: str
    created_at: datetime


class DeletedCollection(Model):
    """The proof that a collection is gone."""

    id: UUID
    documents_deleted: int


class KeySecret(Model):
    """A secret of a key, as far as it may be seen."""

    prefix: str
    created_at: datetime
    shown_to: UUID | None = None
    ends_at: datetime | None = None
    last_used_at: datetime | None = None
    last_used_from: str | None = None


class ApiKey(Model):
    """An API key; `user_id` is None for one of the tenant."""

    id: UUID
    prefix: str
    name: str
    scopes: list[str]
    addresses: list[str] = Field(default=[])
    expires_at: datetime | None = None
    user_id: UUID | None = None
    role: str | None = None
    created_by: UUID
    created_at: datetime
    secrets: list[KeySecret] = Field(default=[])


class IssuedApiKey(ApiKey):
    """A key with its secret, which is shown this once."""

    secret: str


class Session(Model):
    """A sign-in that goes on."""

    id: UUID
    device: str
    address: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    is_current: bool = False


class SecondFactor(Model):
    """What somebody has beside the first proof; `recovery_codes` are those that are left."""

    totp: bool
    passkeys: int = 0
    recovery_codes: int = 0
    required: bool = False
    asked_for: bool = False


class TotpSecret(Model):
    """What an authenticator app is told."""

    secret: str
    otpauth_uri: str


class RecoveryCodes(Model):
    """Each stands in for a second factor once."""

    recovery_codes: list[str]


class Passkey(Model):
    """What one signs in with on a device; `backed_up` when a password manager keeps it on more than one."""

    id: UUID
    name: str
    backed_up: bool
    created_at: datetime
    last_used_at: datetime | None = None


class Passkeys(Model):
    """All of one's passkeys."""

    items: list[Passkey]


class LinkedIdentity(Model):
    """Who somebody is at an identity provider."""

    provider_id: UUID
    subject: str
    linked_at: datetime


class LinkedIdentities(Model):
    """All of somebody's links to identity providers."""

    items: list[LinkedIdentity]


class AuditEntry(Model):
    """Who did what to which object, from where, with which result."""

    seq: int
    id: UUID
    at: datetime
    actor_type: str
    actor_id: UUID | None = None
    action: str
    object_type: str
    object_id: str | None = None
    result: str
    address: str | None = None
    request_id: str | None = None
    detail: str | None = None


class Retention(Model):
    """For how many days things are kept; None is for ever."""

    chats_days: int | None = None
    documents_days: int | None = None


class TenantSettings(Model):
    """The own tenant. Of one that is not `active` nothing but reading is left."""

    id: int
    customer_id: UUID
    slug: str
    name: str
    signup: str
    domains: list[str] = Field(default=[])
    state: str = "active"
    deletes_at: datetime | None = None
    retention: Retention = Retention()
    next_retention: Retention | None = None
    """What takes its place at `retention_changes_at`, when less is kept."""
    retention_changes_at: datetime | None = None
    require_second_factor: bool = False
    created_at: datetime


class DnsRecord(Model):
    """A record to publish."""

    type: str
    name: str
    value: str


class Domain(Model):
    """A domain of mail; `verified_at` None is not proven yet."""

    id: UUID
    domain: str
    record: DnsRecord
    created_at: datetime
    verified_at: datetime | None = None


class Export(Model):
    """An archive: of one person, or of the whole tenant when `user_id` is None. Fetch one that is `ready`."""

    id: UUID
    user_id: UUID | None = None
    requested_by: UUID
    state: str
    size_bytes: int | None = None
    created_at: datetime
    expires_at: datetime | None = None


class ErasedPart(Model):
    """What one service erased of a person, and what it keeps for which reason."""

    service: str
    erased_at: datetime
    erased: dict[str, int]
    kept: dict[str, str]


class ErasureReceipt(Model):
    """What became of an erased person; complete when `finished_at` is there."""

    user_id: UUID
    begun_at: datetime
    finished_at: datetime | None = None
    parts: list[ErasedPart]
    waiting_for: list[str]


class JoinRule(Model):
    """Who becomes a user by signing in by a provider for the first time."""

    enabled: bool = False
    default_role: str = "member"
    domains: list[str] = Field(default=[])


class GroupMapping(Model):
    """What somebody gets in whose claim a value stands."""

    value: str
    group_id: UUID | None = None
    role: str | None = None


class IdentityProvider(Model):
    """A provider that speaks OpenID Connect; `redirect_uri` is registered there."""

    id: UUID
    name: str
    issuer: str
    client_id: str
    has_client_secret: bool
    scopes: list[str] = Field(default=[])
    active: bool = True
    jit: JoinRule = JoinRule()
    groups_claim: str = "groups"
    group_mappings: list[GroupMapping] = Field(default=[])
    links_owners: bool = False
    redirect_uri: str
    start_url: str
    created_at: datetime
