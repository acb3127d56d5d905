"""The service's reaction to the world: one function an event."""

from __future__ import annotations

from docuchat_chat.conversations.removals import Removals
from docuchat_chat.transaction import ChatTx
from docuchat_common.db import UnitOfWork
from docuchat_common.erasure import TenantErasure
from docuchat_common.events.catalogue import DocumentDeleted, TenantDeleted, TenantSettings, UserRemoved
from docuchat_common.ids import DocumentId, TenantId
from docuchat_common.messaging.subscriptions import AnySubscription, Delivery, Subscription
from docuchat_common.messaging.topology import queue_name
from docuchat_common.removals import RemovedUser
from docuchat_common.retention import Retention


def subscriptions(
    transactions: UnitOfWork[ChatTx], erasure: TenantErasure, retention: Retention, removals: Removals
) -> list[AnySubscription]:
    """Return what the service asks of the broker."""

    async def empty_quotes(event: DocumentDeleted, _: Delivery) -> None:
        """Leave no words of a deleted document in stored answers. Repeating it changes nothing: it needs no inbox."""
        async with transactions(TenantId(event.tenant_id)) as tx:
            await tx.chats.mark_deleted(TenantId(event.tenant_id), DocumentId(event.document_id))

    async def begin_erasure(event: TenantDeleted, _: Delivery) -> None:
        """Take nothing more of a deleted tenant; what is there goes in the background."""
        await erasure.begin(TenantId(event.tenant_id))

    async def keep_rule(event: TenantSettings, _: Delivery) -> None:
        """A tenant has chosen for how long it keeps chats."""
        await retention.hear(TenantId(event.tenant_id), event.version, event.chats_days)

    async def end_chats(event: UserRemoved, _: Delivery) -> None:
        await removals.settle(RemovedUser.of(event))

    return [
        Subscription(queue=queue_name("chat", TenantSettings.type), event=TenantSettings, handler=keep_rule),
        Subscription(queue=queue_name("chat", DocumentDeleted.type), event=DocumentDeleted, handler=empty_quotes),
        Subscription(queue=queue_name("chat", TenantDeleted.type), event=TenantDeleted, handler=begin_erasure),
        Subscription(queue=queue_name("chat", UserRemoved.type), event=UserRemoved, handler=end_chats, prefetch=1),
    ]
