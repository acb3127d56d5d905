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
from docuchat_ingest.service import IngestService
from docuchat_knowledge.jobs.domain import Claim

logger = structlog.get_logger()

_LADDER = RetryLadder()


class Worker:
    """The slots of one process: as many documents at once as it may, taken on a message or found waiting."""

    def __init__(self, service: IngestService, concurrency: int) -> None:
        self._service = service
        self._slots = asyncio.Semaphore(concurrency)
        self._found: set[asyncio.Task[None]] = set()

    async def take_ticket(self) -> None:
        """Work on the fairest document, which need not be the ticket's; there are as many tickets as documents."""
        async with self._slots:
            claim = await self._service.claim()
            if claim:
                await self._service.work(claim)

    async def look_around(self) -> None:
        """Take what waits without a ticket: the queue was lost, a worker died, a pause is over.

        Returns when the slots are full or nothing waits; the work goes on by itself.
        """
        while not self._slots.locked():
            await self._slots.acquire()
            try:
                claim = await self._service.claim()
            except BaseException:
                self._slots.release()
                raise
            if claim is None:
                self._slots.release()
                return
            task = asyncio.create_task(self._work(claim))
            self._found.add(task)
            task.add_done_callback(self._found.discard)

    async def _work(self, claim: Claim) -> None:
        try:
            await self._service.work(claim)
        except UpstreamUnavailable as error:
            logger.info("worker.waiting", reason=error.detail)
        finally:
            self._slots.release()

    async def stop(self, drain: timedelta) -> None:
        """Wait for what was found waiting, then give it back."""
        if self._found:
            _, late = await asyncio.wait(self._found, timeout=drain.total_seconds())
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=2)


async def on_uploaded(worker: Worker, event: DocumentUploaded, delivery: Delivery) -> None:
    """A ticket; when its document has to wait, the ticket waits on the ladder too, as long as the ladder goes."""
    try:
        await worker.take_ticket()
    except UpstreamUnavailable:
        if delivery.attempt <= len(_LADDER.steps):
            raise
        # the row is queued and is found when its time comes: a ticket more in the dead-letter queue would only confuse


async def on_deleted(service: IngestService, event: DocumentDeleted, _: Delivery) -> None:
    await service.remove_blobs(TenantId(event.tenant_id), DocumentId(event.document_id))


def subscriptions(service: IngestService, worker: Worker, concurrency: int) -> list[Subscription[Any]]:
    handlers: list[tuple[type[Event], Callable[[Any, Delivery], Awaitable[None]], int]] = [
        (DocumentUploaded, partial(on_uploaded, worker), concurrency),
        (DocumentDeleted, partial(on_deleted, service), 8),
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
