"""The slots of one process: as many documents at once as it may, taken on a message or found waiting."""

import asyncio
from datetime import timedelta

import structlog

from docuchat_common.errors import UpstreamUnavailable
from docuchat_ingest.jobs.service import Jobs
from docuchat_knowledge.jobs.domain import Claim

logger = structlog.get_logger()


class Slots:
    def __init__(self, jobs: Jobs, concurrency: int) -> None:
        self._jobs = jobs
        self._slots = asyncio.Semaphore(concurrency)
        self._found: set[asyncio.Task[None]] = set()

    async def take_ticket(self) -> None:
        """Work on the fairest document, which need not be the ticket's; there are as many tickets as documents."""
        async with self._slots:
            claim = await self._jobs.claim()
            if claim:
                await self._jobs.work(claim)

    async def look_around(self) -> None:
        """Take what waits without a ticket: the queue was lost, a worker died, a pause is over.

        Returns when the slots are full or nothing waits; the work goes on by itself.
        """
        while not self._slots.locked():
            await self._slots.acquire()
            try:
                claim = await self._jobs.claim()
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
            await self._jobs.work(claim)
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
