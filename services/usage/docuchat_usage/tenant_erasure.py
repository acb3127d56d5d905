"""What is left of a deleted tenant here: the books, without people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from docuchat_common.db.uow import Transactions
from docuchat_common.erasure import BATCH, ErasingTx, TenantErasure
from docuchat_common.ids import TenantId
from docuchat_common.messaging.dead_letters import DeadLetterOffice

KEPT: Final = {
    "prices": "what the models of its own providers cost: entries of the ledger refer to them",
    "ledger": "what was used and what it cost, without users, keys, chats and documents, for LEDGER_RETENTION",
    "usage stream": "ids and amounts for the platform's own books, for USAGE_STREAM_MAX_AGE",
}


class _Ledger(Protocol):
    async def strip(self, tenant_id: TenantId, limit: int) -> int: ...


class UsageErasingTx(ErasingTx, Protocol):
    """What of a transaction an erasure uses here."""

    @property
    def ledger(self) -> _Ledger:
        """The books."""


def make_erasure(transactions: Transactions[UsageErasingTx], dead_letters: DeadLetterOffice) -> TenantErasure:
    """The erasure of tenants from usage."""

    async def strip_ledger(tenant_id: TenantId) -> Mapping[str, int]:
        batch = BATCH
        while batch == BATCH:
            async with transactions.system() as tx:
                batch = await tx.ledger.strip(tenant_id, BATCH)
                await tx.erasures.count(tenant_id, {"names_in_the_ledger": batch} if batch else {})
        return {}

    async def discard_messages(tenant_id: TenantId) -> Mapping[str, int]:
        return {"messages_in_queues": await dead_letters.discard_of(tenant_id)}

    return TenantErasure(transactions, "usage", after=[strip_ledger, discard_messages], kept=KEPT)
