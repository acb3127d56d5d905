"""An invitation, and the secret that accepts it."""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from docuchat_auth.users.domain import Email
from docuchat_common.contracts.permissions import Role
from docuchat_common.ids import TenantId

_TOKEN: Final = re.compile(r"dci_([1-9][0-9]{0,9})_[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Invitation:
    """An address that may become a user. Only the hash of its token is ever stored."""

    tenant_id: TenantId
    id: UUID
    email: Email
    role: Role
    invited_by: UUID
    """The user or the key that made it or sent it last."""
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class InvitationMail:
    """An invitation on its way to its address. Kept in memory only."""

    tenant_id: TenantId
    tenant_name: str
    email: Email
    token: str = field(repr=False)
    expires_at: datetime


def new_token(tenant_id: TenantId) -> str:
    """256 random bits behind the number of the tenant in which they are looked for."""
    return f"dci_{tenant_id}_{secrets.token_urlsafe(32)}"


def tenant_in(token: str) -> TenantId | None:
    """The tenant that a token is of; None for what is none."""
    match = _TOKEN.fullmatch(token)
    number = 0 if match is None else int(match[1])
    return TenantId(number) if 0 < number < 2**31 else None


def hash_token(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).digest()
