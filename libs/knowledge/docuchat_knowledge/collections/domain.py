"""A tenant's sets of documents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from docuchat_common.ids import CollectionId, TenantId


@dataclass(frozen=True, slots=True)
class Collection:
    """A tenant's set of documents; each tenant has one default collection, made on first use."""

    id: CollectionId
    tenant_id: TenantId
    name: str
    is_default: bool
    document_count: int
    chunk_count: int
    created_at: datetime
