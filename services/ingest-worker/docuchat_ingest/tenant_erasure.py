"""What a deleted tenant leaves here besides rows: its files, what the gateway has counted, and what users were told."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import structlog
from redis.asyncio import Redis

from docuchat_common.blobs import Blobs
from docuchat_common.db.uow import Transactions
from docuchat_common.erasure import ErasingTx, TenantErasure
from docuchat_common.ids import TenantId
from docuchat_common.messaging.dead_letters import DeadLetterOffice
from docuchat_common.redis import erase_keys
from docuchat_common.user_events import stream_key

logger = structlog.get_logger()

LOOK_AGAIN_FOR: Final = timedelta(days=1)
"""A file that was on its way may arrive after its tenant was erased, when the gateway is killed just then."""


def make_erasure(
    transactions: Transactions[ErasingTx], blobs: Blobs, redis: Redis, dead_letters: DeadLetterOffice
) -> TenantErasure:
    """The erasure of tenants from the knowledge base, of the gateway's counters and of its users' streams of events."""

    async def delete_files(tenant_id: TenantId) -> Mapping[str, int]:
        return {"objects": await blobs.delete_prefix(_folder(tenant_id))}

    async def erase_keys_of(tenant_id: TenantId) -> Mapping[str, int]:
        # chat erases the streams with its own, and the jobs of here may have written to them since
        return {"keys": await erase_keys(redis, f"gateway:*:*:{tenant_id}:*", stream_key(f"{tenant_id}:*"))}

    async def discard_messages(tenant_id: TenantId) -> Mapping[str, int]:
        return {"messages_in_queues": await dead_letters.discard_of(tenant_id)}

    return TenantErasure(transactions, "ingest", after=[delete_files, erase_keys_of, discard_messages])


async def delete_late_files(transactions: Transactions[ErasingTx], blobs: Blobs) -> None:
    """Delete files that arrived after their tenant was erased."""
    async with transactions.system() as tx:
        tenants = await tx.erasures.list_recent(LOOK_AGAIN_FOR)
    for tenant_id in tenants:
        if objects := await blobs.delete_prefix(_folder(tenant_id)):
            logger.warning("tenant.late_files_deleted", tenant_id=tenant_id, objects=objects)


def _folder(tenant_id: TenantId) -> str:
    return f"tenants/{tenant_id}"
