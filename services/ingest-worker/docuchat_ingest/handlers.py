"""What the worker does when it hears an event."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from docuchat_common.erasure import TenantErasure
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import (
    DocumentDeleted,
    DocumentUploaded,
    ExportRequested,
    TenantDeleted,
    TenantSettings,
    UserRemoved,
)
from docuchat_common.events.chats import ChatbotDeleted, ChatDeleted
from docuchat_common.events.envelope import Event
from docuchat_common.ids import DocumentId, TenantId
from docuchat_common.messaging.subscriptions import Delivery, Subscription
from docuchat_common.messaging.topology import RetryLadder, queue_name
from docuchat_common.removals import RemovedUser
from docuchat_common.retention import Retention
from docuchat_ingest.exports.service import Exports
from docuchat_ingest.jobs.leftovers import Leftovers
from docuchat_ingest.jobs.removals import Removals
from docuchat_ingest.jobs.slots import Slots
from docuchat_ingest.jobs.sweeps import Sweeps

_LADDER = RetryLadder()


async def on_uploaded(slots: Slots, sweeps: Sweeps, event: DocumentUploaded, delivery: Delivery) -> None:
    """A ticket; when its document has to wait, the ticket waits on the ladder too, as long as the ladder goes.

    A ticket that was brought back from the dead letters asks for a document that was given up.
    """
    await sweeps.try_again(DocumentId(event.document_id))
    try:
        await slots.take_ticket()
    except UpstreamUnavailable:
        if delivery.attempt <= len(_LADDER.steps):
            raise
        # the row is queued and is found when its time comes: a ticket more in the dead-letter queue would only confuse


async def on_deleted(sweeps: Sweeps, event: DocumentDeleted, _: Delivery) -> None:
    await sweeps.remove_blobs(TenantId(event.tenant_id), DocumentId(event.document_id))


async def on_tenant_deleted(erasure: TenantErasure, event: TenantDeleted, _: Delivery) -> None:
    """Take nothing more of it; what is there goes in the background."""
    await erasure.begin(TenantId(event.tenant_id))


async def on_settings(retention: Retention, event: TenantSettings, _: Delivery) -> None:
    """A tenant has chosen for how long it keeps documents."""
    await retention.hear(TenantId(event.tenant_id), event.version, event.documents_days)


async def on_removed(removals: Removals, event: UserRemoved, _: Delivery) -> None:
    await removals.settle(RemovedUser.of(event))


async def on_chatbot_deleted(leftovers: Leftovers, event: ChatbotDeleted, _: Delivery) -> None:
    await leftovers.delete_chatbot(TenantId(event.tenant_id), event.chatbot_id)


async def on_chat_deleted(leftovers: Leftovers, event: ChatDeleted, _: Delivery) -> None:
    await leftovers.delete_attachments(TenantId(event.tenant_id), event.document_ids)


async def on_export_requested(exports: Exports, _: ExportRequested, __: Delivery) -> None:
    """Word of a row, which is found without it as well: nobody keeps a message as long as an archive takes."""
    exports.wake()


def subscriptions(
    sweeps: Sweeps,
    removals: Removals,
    leftovers: Leftovers,
    exports: Exports,
    slots: Slots,
    erasure: TenantErasure,
    retention: Retention,
    concurrency: int,
) -> list[Subscription[Any]]:
    handlers: list[tuple[type[Event], Callable[[Any, Delivery], Awaitable[None]], int]] = [
        (DocumentUploaded, partial(on_uploaded, slots, sweeps), concurrency),
        (DocumentDeleted, partial(on_deleted, sweeps), 8),
        (TenantDeleted, partial(on_tenant_deleted, erasure), 8),
        (TenantSettings, partial(on_settings, retention), 8),
        (UserRemoved, partial(on_removed, removals), 1),
        (ChatbotDeleted, partial(on_chatbot_deleted, leftovers), 1),
        (ChatDeleted, partial(on_chat_deleted, leftovers), 1),
        (ExportRequested, partial(on_export_requested, exports), 8),
    ]
    return [
        Subscription(queue_name("ingest", event.type), event, handler, prefetch=prefetch, retry=_LADDER)
        for event, handler, prefetch in handlers
    ]
