"""Identifiers. Every entity has a UUIDv7 (RFC 9562: time-ordered, so indexes stay compact); a tenant has an integer."""

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


def uuid7() -> UUID:
    """A new UUIDv7; later calls in one process sort after earlier ones."""
    return uuid_utils.compat.uuid7()
