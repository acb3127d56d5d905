"""Bodies about erased people."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_auth.lifecycle.schemas import ReceiptPart
from docuchat_auth.user_erasures.domain import UserReceipt


class Erasure(BaseModel):
    """What is asked for."""

    hand_over_to: UUID | None


class ErasureReceipt(BaseModel):
    """What became of an erased person."""

    user_id: UUID = Field(description="Whose receipt it is: `GET /v1/users/{user_id}/receipt` shows how far it is.")
    begun_at: datetime
    finished_at: datetime | None = Field(description="Null while a service has not said what it erased.")
    parts: list[ReceiptPart]
    waiting_for: list[str] = Field(description="The services that have not said so yet.")

    @classmethod
    def of(cls, receipt: UserReceipt) -> "ErasureReceipt":
        """Present a receipt."""
        return cls(
            user_id=receipt.user_id,
            begun_at=receipt.begun_at,
            finished_at=receipt.finished_at,
            parts=[
                ReceiptPart(service=service, erased_at=part.erased_at, erased=dict(part.erased), kept=dict(part.kept))
                for service, part in sorted(receipt.parts.items())
            ],
            waiting_for=receipt.waiting_for,
        )
