"""A tenant's sets of documents, and who may do what in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from docuchat_common.ids import CollectionId, TenantId


class Visibility(StrEnum):
    """Who reads a collection: all of the tenant, or its members and the tenant's admins."""

    TENANT = "tenant"
    RESTRICTED = "restricted"


class Kind(StrEnum):
    """What a collection is for."""

    DOCUMENTS = "documents"
    CHATBOT = "chatbot"
    """The documents of one chatbot, whose id it has: restricted as long as the chatbot is there."""
    ATTACHMENTS = "attachments"
    """The files that one subject attached to messages; it has that subject's id, no list shows it and nobody else
    reads it."""


class Access(StrEnum):
    """What one may do in a collection, each more than the one before."""

    READ = "read"
    WRITE = "write"
    """Upload, too."""
    MANAGE = "manage"
    """Say who the members are, too; rename, open, restrict and delete; delete documents of others."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A tenant's set of documents; each tenant has one default collection, made on first use."""

    id: CollectionId
    tenant_id: TenantId
    name: str
    kind: Kind
    is_default: bool
    visibility: Visibility
    created_by: UUID | None
    access: Access
    """What the reader may do in it."""
    document_count: int
    chunk_count: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Member:
    """A user, a group or a key that a collection is open to."""

    id: UUID
    access: Access
    created_at: datetime
