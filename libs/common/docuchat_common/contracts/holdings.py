"""What the tenants store, as the service that keeps documents and the one that counts them compare it."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

PAGE_SIZE = 1000
"""Documents that are compared at once."""

Whole = Annotated[int, Field(ge=0, lt=1 << 63)]


class Holding(BaseModel):
    """One document, as far as it counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    document_id: UUID
    tenant_id: Annotated[int, Field(ge=1, lt=1 << 63)]
    user_id: UUID | None = None
    size_bytes: Whole
    pages: Whole = 0
    """0 until the document was read."""
    generation: Whole = 0
    """Which reading of the document the pages are of."""
    is_gone: bool = False
    """Whether it was deleted, and counts no more."""


class Holdings(BaseModel):
    """Some documents, by id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    items: Annotated[tuple[Holding, ...], Field(max_length=PAGE_SIZE)]


class Corrected(BaseModel):
    """What a correction has changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    corrected: Whole
    after: Whole | None = None
    """Of tenants: the last that was looked at, when there are more."""
