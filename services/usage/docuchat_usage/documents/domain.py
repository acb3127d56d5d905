"""What a tenant stores, as far as it counts."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """What one event says of a document; None is what it does not say."""

    tenant_id: int
    document_id: UUID
    user_id: UUID | None = None
    size_bytes: int | None = None
    """Known at upload: from then on the document counts."""
    pages: int | None = None
    generation: int | None = None
    """Of `pages`: an earlier generation's are not believed after a later one's."""
    deleted: bool = False
    hold_id: UUID | None = None
