"""What a deleted tenant leaves here besides rows: answers that run, and what is streamed of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from redis.asyncio import Redis

from docuchat_chat.conversations.ports import RunningTurns
from docuchat_chat.turns.ports import TurnsTx
from docuchat_common.db.uow import Transactions
from docuchat_common.erasure import ErasingTx, TenantErasure
from docuchat_common.ids import TenantId
from docuchat_common.messaging.dead_letters import DeadLetterOffice
from docuchat_common.redis import erase_keys


class ChatErasingTx(TurnsTx, ErasingTx, Protocol):
    """What of a transaction an erasure uses here."""


def make_erasure(
    transactions: Transactions[ChatErasingTx],
    running: RunningTurns,
    redis: Redis,
    dead_letters: DeadLetterOffice,
    keys_of: Callable[[TenantId], tuple[str, ...]],
) -> TenantErasure:
    """The erasure of tenants from chat; `keys_of` are the patterns of its keys in Redis."""

    async def stop_answers(tenant_id: TenantId) -> Mapping[str, int]:
        async with transactions.system() as tx:
            turns = await tx.turns.list_running(tenant_id)
        await running.forget(tenant_id, turns)
        return {}

    async def erase_streams(tenant_id: TenantId) -> Mapping[str, int]:
        return {"keys": await erase_keys(redis, *keys_of(tenant_id))}

    async def discard_messages(tenant_id: TenantId) -> Mapping[str, int]:
        return {"messages_in_queues": await dead_letters.discard_of(tenant_id)}

    return TenantErasure(transactions, "chat", before=[stop_answers], after=[erase_streams, discard_messages])
