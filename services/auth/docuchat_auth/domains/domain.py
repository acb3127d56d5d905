"""A domain of mail, and the DNS record that proves whose it is."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from docuchat_common.ids import TenantId

MOST_DOMAINS: Final = 50
"""Of one tenant."""


@dataclass(frozen=True, slots=True)
class OwnedDomain:
    """A domain that a tenant says is its own, proven once `verified_at` is set."""

    tenant_id: TenantId
    id: UUID
    domain: str
    token: str
    """Stands in public, in the DNS of who owns the domain."""
    created_at: datetime
    verified_at: datetime | None

    @property
    def record_name(self) -> str:
        """Where the TXT record belongs."""
        return f"_docuchat-challenge.{self.domain}"

    @property
    def record_value(self) -> str:
        """What the TXT record says."""
        return f"docuchat-verification={self.token}"


def new_token() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)
