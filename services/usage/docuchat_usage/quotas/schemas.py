"""Requests and responses of the holds."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from docuchat_common.contracts.holds import Amount, HoldKind, HoldUnit, HoldView, Subject, SubjectType
from docuchat_common.contracts.holds import HoldRequest as HoldBody
from docuchat_usage.quotas.domain import Hold, HoldRequest, Kind

_MOST_TOKENS: Final = 100_000_000


class OldHoldBody(BaseModel):
    """The form of a hold before amounts and subjects were lists; goes once no caller uses it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    tenant_id: int = Field(ge=1)
    user_id: UUID | None = None
    chatbot_id: UUID | None = None
    key_id: UUID | None = None
    kind: Literal["chat", "embedding"] = "chat"
    provider: str | None = Field(default=None, max_length=200)
    model: str = Field(min_length=1, max_length=200)
    input_tokens: int = Field(ge=0, le=_MOST_TOKENS)
    max_output_tokens: int = Field(default=0, ge=0, le=_MOST_TOKENS)
    lease_seconds: float = Field(default=60, gt=0, le=3600)

    def renewed(self) -> HoldBody:
        """The same in today's form."""
        given = (
            (SubjectType.USER, self.user_id),
            (SubjectType.CHATBOT, self.chatbot_id),
            (SubjectType.KEY, self.key_id),
        )
        return HoldBody(
            tenant_id=self.tenant_id,
            subjects=tuple(Subject(type=kind, id=str(value)) for kind, value in given if value is not None),
            kind=HoldKind(self.kind),
            provider=self.provider or "*",
            model=self.model,
            amounts=(
                Amount(unit=HoldUnit.INPUT_TOKENS, amount=self.input_tokens),
                Amount(unit=HoldUnit.OUTPUT_TOKENS, amount=self.max_output_tokens),
            ),
            lease=timedelta(seconds=self.lease_seconds),
        )


def hold_request(body: HoldBody) -> HoldRequest:
    """The wish of a hold's body; tokens alone until budgets have other units."""
    subjects = {subject.type: UUID(subject.id) for subject in body.subjects}
    return HoldRequest(
        tenant_id=body.tenant_id,
        kind=Kind.EMBEDDING if body.kind is HoldKind.UPLOAD else Kind(body.kind.value),
        model=body.model or "upload",
        input_tokens=body.amount_of(HoldUnit.INPUT_TOKENS),
        max_output_tokens=body.amount_of(HoldUnit.OUTPUT_TOKENS),
        lease=body.lease,
        user_id=subjects.get(SubjectType.USER),
        chatbot_id=subjects.get(SubjectType.CHATBOT),
        key_id=subjects.get(SubjectType.KEY),
        provider=body.provider,
    )


def hold_view(hold: Hold) -> HoldView:
    """The view of an open hold."""
    return HoldView(hold_id=hold.id, tokens=hold.tokens, expires_at=hold.expires_at)
