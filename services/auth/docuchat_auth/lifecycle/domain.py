"""What a tenant's admins may change of it, and what is told of its end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from docuchat_auth.tenants.domain import Retention, SignUp
from docuchat_common.events.catalogue import TenantErased
from docuchat_common.ids import TenantId

PARTS: Final = TenantErased.published_by
"""The services that keep something of tenants."""


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """What is None stays."""

    name: str | None = None
    signup: SignUp | None = None
    retention: Mapping[str, int | None] = field(default_factory=dict)
    """By the names of `Retention`; None is for ever."""
    require_second_factor: bool | None = None


@dataclass(frozen=True, slots=True)
class OwnersNotice:
    """What an owner is told while it can be taken back. Kept in memory only."""

    tenant_id: TenantId
    tenant_name: str
    at: datetime
    retention: Retention | None
    """What is older than it allows is deleted from then on; None: the tenant is."""
    to: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Part:
    """What a service erased of a tenant, and what it keeps for which reason."""

    erased_at: datetime
    erased: Mapping[str, int]
    kept: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a deleted tenant; of nobody by name."""

    tenant_id: TenantId
    customer_id: UUID
    begun_at: datetime
    finished_at: datetime | None
    """None while a service has not said what it erased."""
    parts: Mapping[str, Part]

    @property
    def waiting_for(self) -> list[str]:
        """The services that have not said so yet."""
        return [part for part in PARTS if part not in self.parts]


@dataclass(frozen=True, slots=True)
class ReceiptMail:
    """A receipt, and who owned the tenant and has not got it yet."""

    receipt: Receipt
    to: tuple[str, ...] = field(repr=False)
