"""Bodies about the caller's tenant."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_auth.lifecycle.domain import Receipt, SettingsChange
from docuchat_auth.tenants.domain import SignUpMode, Tenant, TenantState
from docuchat_auth.tenants.errors import InvalidSignUp
from docuchat_auth.tenants.service import make_signup
from docuchat_common.http.json_body import Flag, Name, StrictBody, Whole

_DEMANDED = "Whether who has no second factor may do nothing but set one up; felt within seconds, and by nobody else."
Days = Annotated[Whole, Field(ge=1, le=36_500)]


class RetentionView(StrictBody):
    """For how long things are kept."""

    chats_days: Days | None = Field(default=None, description="Days after a chat's last message; null: for ever.")
    documents_days: Days | None = Field(default=None, description="Days after a document's upload; null: for ever.")


class TenantSettings(BaseModel):
    """The caller's tenant."""

    id: int = Field(examples=[1])
    customer_id: UUID
    slug: str = Field(examples=["acme"])
    name: str = Field(examples=["Acme"])
    signup: SignUpMode = Field(description="Who may join without being invited.")
    domains: list[str] = Field(description="Of mail: with `domains`, whose people may join.")
    state: TenantState = Field(description="Of one that is not active nothing but reading is left.")
    deletes_at: datetime | None = Field(description="When it is deleted; until then its owner can take that back.")
    retention: RetentionView
    next_retention: RetentionView | None = Field(description="What takes its place at `retention_changes_at`.")
    retention_changes_at: datetime | None = Field(description="When less is kept; until then that can be taken back.")
    require_second_factor: bool = Field(description=_DEMANDED)
    created_at: datetime

    @classmethod
    def of(cls, tenant: Tenant) -> "TenantSettings":
        """Present a tenant."""
        return cls(
            id=tenant.id,
            customer_id=tenant.customer_id,
            slug=tenant.slug,
            name=tenant.name,
            signup=tenant.signup.mode,
            domains=sorted(tenant.signup.domains),
            state=tenant.state,
            deletes_at=tenant.deletes_at,
            retention=RetentionView(**asdict(tenant.retention)),
            next_retention=None if tenant.next_retention is None else RetentionView(**asdict(tenant.next_retention)),
            retention_changes_at=tenant.retention_changes_at,
            require_second_factor=tenant.require_second_factor,
            created_at=tenant.created_at,
        )


class TenantSettingsChange(StrictBody):
    """What is not given stays."""

    name: Name | None = None
    signup: SignUpMode | None = Field(
        default=None, description="`open` only where it is so already: operators open a tenant."
    )
    domains: list[Annotated[str, Field(max_length=253)]] | None = Field(
        default=None,
        max_length=100,
        description="With `signup: domains`: of those that are proven, or that an operator has set.",
    )

    retention: RetentionView | None = Field(
        default=None,
        description="What is older is deleted, chats with their answers and documents with their files: less time is "
        "an owner's to say and begins after the grace of a deletion, more time at once.",
    )
    require_second_factor: Flag | None = Field(default=None, description=_DEMANDED)

    def change(self) -> SettingsChange:
        """What is wanted. Raises InvalidSignUp."""
        if self.signup is None and self.domains is not None:
            raise InvalidSignUp("Say in `signup` who may join: invite or domains.")
        rule = None if self.signup is None else make_signup(self.signup, self.domains or ())
        return SettingsChange(
            self.name,
            rule,
            {} if self.retention is None else self.retention.model_dump(exclude_unset=True),
            self.require_second_factor,
        )


class ReceiptPart(BaseModel):
    """What one service erased, and what it keeps."""

    service: str = Field(examples=["chat"])
    erased_at: datetime
    erased: dict[str, int] = Field(examples=[{"chats": 12, "messages": 96, "keys": 2}])
    kept: dict[str, str] = Field(description="What stays, and why.")


class DeletionReceipt(BaseModel):
    """What became of a deleted tenant."""

    tenant_id: int
    customer_id: UUID
    begun_at: datetime
    finished_at: datetime | None = Field(description="Null while a service has not said what it erased.")
    parts: list[ReceiptPart]
    waiting_for: list[str] = Field(description="The services that have not said so yet.")

    @classmethod
    def of(cls, receipt: Receipt) -> "DeletionReceipt":
        """Present a receipt."""
        return cls(
            tenant_id=receipt.tenant_id,
            customer_id=receipt.customer_id,
            begun_at=receipt.begun_at,
            finished_at=receipt.finished_at,
            parts=[
                ReceiptPart(service=service, erased_at=part.erased_at, erased=dict(part.erased), kept=dict(part.kept))
                for service, part in sorted(receipt.parts.items())
            ],
            waiting_for=receipt.waiting_for,
        )
