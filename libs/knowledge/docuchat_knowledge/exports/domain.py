"""An export: somebody asked for an archive, and a worker makes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from docuchat_common.ids import TenantId


class ExportState(StrEnum):
    """How far an export has come."""

    QUEUED = "queued"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Export:
    """An archive that was asked for; of one person with `user_id`, else of the tenant."""

    id: UUID
    tenant_id: TenantId
    user_id: UUID | None
    requested_by: UUID
    state: ExportState
    blob_key: str | None
    size_bytes: int | None
    created_at: datetime
    expires_at: datetime | None
    """When the archive is deleted; None before it is there."""

    @property
    def is_private(self) -> bool:
        """Whether its person asked for it: then it has that person's chats, and is nobody else's to see."""
        return self.requested_by == self.user_id


@dataclass(frozen=True, slots=True)
class ExportClaim:
    """The right to make an archive; `attempt` tells it from those of workers that were thought dead."""

    id: UUID
    tenant_id: TenantId
    user_id: UUID | None
    requested_by: UUID
    attempt: int

    @property
    def has_chats(self) -> bool:
        """Chats are the person's: others get them with all of the tenant only."""
        return self.user_id is None or self.requested_by == self.user_id


@dataclass(frozen=True, slots=True)
class StoredFile:
    """The original of a document."""

    document_id: UUID
    media_type: str
    blob_key: str
