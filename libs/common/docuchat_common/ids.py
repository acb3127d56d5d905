"""Identifiers. Every entity has a UUIDv7 (RFC 9562: time-ordered, so indexes stay compact); a tenant has an integer."""

from datetime import UTC, datetime
from typing import NewType
from uuid import UUID

import uuid_utils.compat

TenantId = NewType("TenantId", int)
UserId = NewType("UserId", UUID)
CollectionId = NewType("CollectionId", UUID)
DocumentId = NewType("DocumentId", UUID)
ChunkId = NewType("ChunkId", UUID)
ChatbotId = NewType("ChatbotId", UUID)
ChatId = NewType("ChatId", UUID)
MessageId = NewType("MessageId", UUID)
TurnId = NewType("TurnId", UUID)
HoldId = NewType("HoldId", UUID)
EventId = NewType("EventId", UUID)


def holder_name(tenant_id: TenantId, user_id: UUID | None, key_id: UUID | None) -> str | None:
    """Name whose something is, as `Caller.holder` does: a user's or a tenant's key's; None when it is nobody's."""
    if user_id is not None:
        return f"{tenant_id}:user:{user_id}"
    return None if key_id is None else f"{tenant_id}:key:{key_id}"


def file_name(document_id: UUID) -> str:
    """Name a document as OpenAI's clients name a file: what they upload, list and find in citations."""
    return f"file-{document_id}"


def uuid7() -> UUID:
    """A new UUIDv7; later calls in one process sort after earlier ones."""
    return uuid_utils.compat.uuid7()


def made_at(uuid: UUID) -> datetime:
    """When a UUIDv7 was made, to the millisecond: it begins with its time."""
    return datetime.fromtimestamp((uuid.int >> 80) / 1000, UTC)
