"""What is told of a person who was erased; nothing by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from docuchat_auth.lifecycle.domain import Part
from docuchat_common.events.catalogue import UserErased
from docuchat_common.ids import TenantId, UserId

PARTS: Final = UserErased.published_by
"""The services that keep something of people."""
KEPT: Final = {
    "audit_entries": "who did what, by ids and without network addresses, for AUDIT_RETENTION; entries that were "
    "booked before addresses could be taken out keep theirs so long",
    "revisions": "that tokens of the user are refused, until the last of them has ended",
    "service keys": "the tenant's own keys that the user made, with an id in place of the maker",
    "counters": "pseudonyms of the address, for a day at most",
    "mails": "what waits in memory to be sent, for minutes",
    "user_receipts": "this receipt",
}


@dataclass(frozen=True, slots=True)
class UserReceipt:
    """What became of an erased person."""

    tenant_id: TenantId
    user_id: UserId
    begun_at: datetime
    finished_at: datetime | None
    """None while a service has not said what it erased."""
    parts: Mapping[str, Part]

    @property
    def waiting_for(self) -> list[str]:
        """The services that have not said so yet."""
        return [part for part in PARTS if part not in self.parts]


@dataclass(frozen=True, slots=True)
class OpenErasure:
    """One of which auth has not said what is gone: addresses may stand in the log."""

    tenant_id: TenantId
    user_id: UserId
