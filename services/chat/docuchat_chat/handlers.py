"""The service's reaction to the world: one function an event."""

from __future__ import annotations

from docuchat_chat.transaction import ChatTx
from docuchat_common.db import UnitOfWork
from docuchat_common.events.catalogue import DocumentDeleted
from docuchat_common.ids import DocumentId, TenantId
from docuchat_common.messaging.subscriptions import AnySubscription, Delivery, Subscription
from docuchat_common.messaging.topology import queue_name


def subscriptions(transactions: UnitOfWork[ChatTx]) -> list[AnySubscription]:
    """Return what the service asks of the broker."""

    async def empty_quotes(event: DocumentDeleted, _: Delivery) -> None:
        """Leave no words of a deleted document in stored answers. Repeating it changes nothing: it needs no inbox."""
        async with transactions(TenantId(event.tenant_id)) as tx:
            await tx.chats.mark_deleted(TenantId(event.tenant_id), DocumentId(event.document_id))

    return [Subscription(queue=queue_name("chat", DocumentDeleted.type), event=DocumentDeleted, handler=empty_quotes)]
