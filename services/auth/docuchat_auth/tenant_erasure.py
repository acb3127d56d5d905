"""What a deleted tenant leaves here besides rows: pseudonyms in Redis, addresses in its log, and the tenant itself.

And when tenants, and people, are looked for who are to be erased.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from redis.asyncio import Redis

from docuchat_auth.audit.service import AuditLog
from docuchat_auth.lifecycle.service import Deletion, Settings
from docuchat_auth.user_erasures.service import UserErasures
from docuchat_common.background import Background
from docuchat_common.erasure import ERASE_EVERY, TenantErasure
from docuchat_common.ids import TenantId
from docuchat_common.messaging.dead_letters import DeadLetterOffice
from docuchat_common.redis import erase_keys

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

_LOOK_EVERY: Final = timedelta(seconds=10)
KEPT: Final = {
    "audit_entries": "who did what, by ids and without addresses, for AUDIT_RETENTION",
    "revisions": "that tokens of the tenant are refused, until the last of them has ended",
    "known devices": "pseudonyms of addresses, over all tenants, for 90 days at most",
    "tenant_receipts": "this receipt",
}


def make_erasure(uow: UnitOfWork[Tx], audit: AuditLog, redis: Redis, dead_letters: DeadLetterOffice) -> TenantErasure:
    """The erasure of tenants from auth."""

    async def erase_keys_of(tenant_id: TenantId) -> Mapping[str, int]:
        kinds = ("code", "devices", "factors", "limit:*:*")
        return {"keys": await erase_keys(redis, *(f"auth:{kind}:{tenant_id}:*" for kind in kinds))}

    async def drop(tenant_id: TenantId) -> Mapping[str, int]:
        async with uow.system() as tx:
            await tx.erasures.count(tenant_id, {"tenants": await tx.tenants.drop(tenant_id)})
        return {}

    async def strip_log(tenant_id: TenantId) -> Mapping[str, int]:
        await audit.strip(tenant_id)
        return {}

    async def discard_messages(tenant_id: TenantId) -> Mapping[str, int]:
        return {"messages_in_queues": await dead_letters.discard_of(tenant_id)}

    return TenantErasure(uow, "auth", after=[drop, strip_log, erase_keys_of, discard_messages], kept=KEPT)


def start_erasures(
    background: Background, settings: Settings, deletion: Deletion, erasure: TenantErasure, people: UserErasures
) -> None:
    """Look for what is to be erased, for as long as `background` lives."""
    background.every("tenants.retention", _LOOK_EVERY, settings.begin_due)
    background.every("tenants.deletion", _LOOK_EVERY, deletion.begin_due)
    background.every("tenants.erasure", ERASE_EVERY, erasure.go_on)
    background.every("tenants.receipts", _LOOK_EVERY, deletion.mail)
    background.every("users.erasure", ERASE_EVERY, people.go_on)
