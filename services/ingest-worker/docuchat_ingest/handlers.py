"""What the worker does when it hears an event, and what it looks after without one."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import structlog

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import DocumentDeleted, DocumentUploaded
from docuchat_common.events.envelope import Event
from docuchat_common.ids import DocumentId, TenantId
from docuchat_common.messaging.subscriptions import Delivery, Subscription
from docuchat_common.messaging.topology import RetryLadder, queue_name
from docuchat_ingest.jobs.slots import Slots
from docuchat_ingest.jobs.sweeps import Sweeps

logger = structlog.get_logger()

_LADDER = RetryLadder()


async def on_uploaded(slots: Slots, event: DocumentUploaded, delivery: Delivery) -> None:
    """A ticket; when its document has to wait, the ticket waits on the ladder too, as long as the ladder goes."""
    try:
        await slots.take_ticket()
    except UpstreamUnavailable:
        if delivery.attempt <= len(_LADDER.steps):
            raise
        # the row is queued and is found when its time comes: a ticket more in the dead-letter queue would only confuse


async def on_deleted(sweeps: Sweeps, event: DocumentDeleted, _: Delivery) -> None:
    await sweeps.remove_blobs(TenantId(event.tenant_id), DocumentId(event.document_id))


def subscriptions(sweeps: Sweeps, slots: Slots, concurrency: int) -> list[Subscription[Any]]:
    handlers: list[tuple[type[Event], Callable[[Any, Delivery], Awaitable[None]], int]] = [
        (DocumentUploaded, partial(on_uploaded, slots), concurrency),
        (DocumentDeleted, partial(on_deleted, sweeps), 8),
    ]
    return [
        Subscription(queue_name("ingest", event.type), event, handler, prefetch=prefetch, retry=_LADDER)
        for event, handler, prefetch in handlers
    ]


async def repeat(name: str, every: timedelta, work: Callable[[], Awaitable[None]]) -> None:
    """Call `work` until cancelled; a failure is logged and waited out."""
    while True:
        try:
            await work()
        except UpstreamUnavailable as error:
            logger.warning("sweep.waiting", sweep=name, reason=error.detail)
        except Exception:  # a sweep that dies would leave documents behind
            logger.exception("sweep.failed", sweep=name)
        await asyncio.sleep(every.total_seconds())
