"""Links to chats."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from docuchat_common.http.caller import SubjectType
from docuchat_common.ids import ChatId, TenantId

Audience = Literal["tenant", "link"]
"""Who may read: everybody who is signed in to the tenant, or everybody who has the link."""

LIFE: Final = timedelta(days=7)
LONGEST_LIFE: Final = timedelta(days=90)
MOST_SHARES: Final = 50
"""Of one chat, that have not expired."""


@dataclass(frozen=True, slots=True)
class Share:
    """A link to the beginning of a chat, up to the message of a number."""

    id: UUID
    tenant_id: TenantId
    chat_id: ChatId
    audience: Audience
    title: str | None
    last_seq: int
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class FoundShare:
    """A link that was followed, and whose chat it leads to."""

    share: Share
    owner_type: SubjectType
    owner_id: UUID


@dataclass(frozen=True, slots=True)
class IssuedShare:
    """A new link with its token, which nobody is told again."""

    share: Share
    token: str


def new_token() -> str:
    """Return 256 random bits."""
    return secrets.token_urlsafe(32)


def hash_of(token: str) -> bytes:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).digest()
