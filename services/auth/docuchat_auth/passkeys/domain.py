"""A passkey, and what an authenticator proved."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from docuchat_common.ids import TenantId, UserId

MOST_PASSKEYS: Final = 20
"""Of one user."""


@dataclass(frozen=True, slots=True)
class Attested:
    """A key pair that an authenticator has made."""

    credential_id: bytes
    public_key: bytes = field(repr=False)
    """As COSE has it."""
    sign_count: int
    is_backed_up: bool


@dataclass(frozen=True, slots=True)
class Asserted:
    """That an authenticator holds the private key, and has verified its user."""

    sign_count: int
    is_backed_up: bool


@dataclass(frozen=True, slots=True)
class Passkey:
    """A user's passkey."""

    tenant_id: TenantId
    id: UUID
    user_id: UserId
    name: str
    attested: Attested
    created_at: datetime
    last_used_at: datetime | None = None
