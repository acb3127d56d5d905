"""An API key and its secrets."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from docuchat_common.contracts.permissions import Action, Role
from docuchat_common.ids import TenantId, UserId

MOST_LIVE: Final = 100
"""Keys of one user, or of the tenant itself, at once."""
OVERLAP: Final = timedelta(hours=1)
LONGEST_OVERLAP: Final = timedelta(days=30)
TOKEN_LIFETIME: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key is wanted for."""

    name: str
    scopes: frozenset[Action]
    addresses: tuple[str, ...]
    expires_at: datetime | None
    service_role: Role | None
    """The role of a key that belongs to the tenant; None for a key of the user who makes it."""


@dataclass(frozen=True, slots=True)
class KeySecret:
    """What opens a key: one at a time, two while one takes the other's place."""

    id: UUID
    key_id: UUID
    prefix: str
    secret_hash: bytes = field(repr=False)
    created_at: datetime
    shown_to: UUID
    """Who made it, and may have kept it."""
    ends_at: datetime | None
    """When it gives way to the newer one."""
    last_used_at: datetime | None = None
    last_used_from: str | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A credential of a program: of a user, of a chatbot, else the tenant's own, which has a `role`."""

    tenant_id: TenantId
    id: UUID
    name: str
    user_id: UserId | None
    role: Role | None
    scopes: frozenset[str]
    addresses: tuple[str, ...]
    created_by: UUID
    created_at: datetime
    expires_at: datetime | None
    chatbot_id: UUID | None = None
    secrets: tuple[KeySecret, ...] = ()
    """The newest first."""

    def ends_at(self, secret: KeySecret) -> datetime | None:
        """When the key as opened by `secret` ends."""
        return min((end for end in (self.expires_at, secret.ends_at) if end is not None), default=None)

    def admits(self, address: str) -> bool:
        """Whether a client of `address` may use it."""
        return not self.addresses or is_within(address, self.addresses)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key with the text of its newest secret, which nobody can read again."""

    key: ApiKey
    text: str = field(repr=False)


def is_within(address: str, networks: Iterable[str]) -> bool:
    """Whether an address lies in one of the networks; what is no address lies in none."""
    try:
        client = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(client, ipaddress.IPv6Address) and client.ipv4_mapped is not None:
        client = client.ipv4_mapped
    return any(client in ipaddress.ip_network(network) for network in networks)
