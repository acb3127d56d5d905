"""What is shown of exports."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_knowledge.exports.domain import Export, ExportState


class ExportView(BaseModel):
    """An archive that was asked for."""

    id: UUID
    user_id: UUID | None = Field(description="Whose data it holds; null for all of the tenant's.")
    requested_by: UUID
    state: ExportState = Field(
        description="`ready`: fetch it at `/v1/exports/{id}/archive`. `failed`: ask for another."
    )
    size_bytes: int | None = Field(description="Of the archive, once it is there.")
    created_at: datetime
    expires_at: datetime | None = Field(description="When the archive is deleted.")

    @classmethod
    def of(cls, export: Export) -> "ExportView":
        """Present an export."""
        return cls(
            id=export.id,
            user_id=export.user_id,
            requested_by=export.requested_by,
            state=export.state,
            size_bytes=export.size_bytes,
            created_at=export.created_at,
            expires_at=export.expires_at,
        )
