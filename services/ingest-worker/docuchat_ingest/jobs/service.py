"""The use cases: take the fairest document, bring it to an end, whatever happens meanwhile.

The documents row is the truth, a message only a reason to look.
"""

import asyncio
from dataclasses import dataclass
from typing import assert_never

import structlog

from docuchat_common.errors import DocuChatError, UpstreamUnavailable
from docuchat_common.events.catalogue import DocumentFailed
from docuchat_common.metering import Metering
from docuchat_ingest.jobs.outcomes import (
    Failed,
    Lost,
    Outcome,
    Postponed,
    Ready,
    Released,
    decide,
    explain,
    is_retryable,
)
from docuchat_ingest.jobs.ports import DeadLetters, Meter
from docuchat_ingest.pipeline.domain import Job, Limits
from docuchat_ingest.pipeline.ports import Announcer, Quota
from docuchat_ingest.pipeline.service import Pipeline
from docuchat_ingest.pipeline.spending import Spending
from docuchat_ingest.reading.errors import ParserStarved, Unreadable
from docuchat_ingest.transaction import IngestUnitOfWork, PatientCommits, Transaction
from docuchat_knowledge.jobs.domain import Claim, WaitingDocument
from docuchat_knowledge.jobs.errors import ClaimLost

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Jobs:
    """Works on documents; safe for concurrent use, each call has its own document."""

    uow: IngestUnitOfWork
    commit: PatientCommits
    metering: Metering
    pipeline: Pipeline
    quota: Quota
    announcer: Announcer
    dead_letters: DeadLetters
    meter: Meter
    limits: Limits
    worker_id: int
    recipe: str

    async def claim(self) -> Claim | None:
        """Take the fairest document; None when there is none to take."""
        async with self.uow.system() as tx:
            return await tx.claims.claim(
                self.worker_id, lease=self.limits.lease, max_attempts=self.limits.max_attempts, recipe=self.recipe
            )

    async def work(self, claim: Claim) -> None:
        """Bring the document to an end.

        Raises UpstreamUnavailable when it went back to the queue, so that the caller tries again later.
        """
        job = Job(claim, Spending(self.commit, self.metering))
        with structlog.contextvars.bound_contextvars(
            tenant_id=claim.tenant_id, document_id=str(claim.document_id), attempt=claim.attempt
        ):
            try:
                outcome = await self._run(job)
            except asyncio.CancelledError:
                await self._end(job, Released())
                raise
            await self._end(job, outcome)

    async def _run(self, job: Job) -> Outcome:
        """Send the document on its way under a heartbeat; a claim that the heartbeat finds lost ends the work."""
        way = asyncio.create_task(self.pipeline.run(job))
        beat = asyncio.create_task(self._keep_alive(job))
        try:
            await asyncio.wait({way, beat}, return_when=asyncio.FIRST_COMPLETED)
            if not way.done():  # the heartbeat found the claim lost
                job.lost = True
                if job.spending.used is None:
                    await beat
                # the provider is asked: its figure is worth the wait, and then nothing more is sent
            return Ready(await way)
        except Exception as error:
            if not isinstance(error, DocuChatError | Unreadable | ParserStarved):
                logger.error("document.attempt_failed", exc_info=error)
            return decide(error, job.claim.attempt, self.limits)
        finally:
            way.cancel()
            beat.cancel()
            await asyncio.gather(way, beat, return_exceptions=True)

    async def _keep_alive(self, job: Job) -> None:
        """Renew the lease until cancelled. Raises ClaimLost."""
        claim, lease = job.claim, self.limits.lease
        while True:
            await asyncio.sleep(lease.total_seconds() / 3)
            try:
                async with self.uow(claim.tenant_id) as tx:
                    await tx.writes.renew(claim, lease=lease)
            except UpstreamUnavailable:
                continue
            if job.hold_id:
                await self.quota.renew(job.hold_id, lease * 2)

    async def _end(self, job: Job, outcome: Outcome) -> None:
        """Write what becomes of the document, then tell who wants to know.

        Raises UpstreamUnavailable when it waits again, and when the database stays away.
        """
        await job.spending.end()
        try:
            await self._write(job, outcome)
        except ClaimLost:
            outcome = Lost()
        except UpstreamUnavailable:
            if not isinstance(outcome, Released):  # its lease frees it
                raise
        finally:
            if job.hold_id and not isinstance(outcome, Ready):
                await self.quota.release(job.hold_id)
        self._record(job, outcome)
        if isinstance(outcome, Failed) and outcome.bury:
            await self.dead_letters.bury(_ticket_of(job.claim))
        if isinstance(outcome, Ready | Failed | Postponed):
            await self.announcer.announce(job.claim)
        if isinstance(outcome, Postponed):
            raise UpstreamUnavailable("The document waits for its next attempt.", retry_after=outcome.delay)

    async def _write(self, job: Job, outcome: Outcome) -> None:
        claim = job.claim

        async def write(tx: Transaction) -> None:
            match outcome:
                case Failed(code):
                    detail = explain(code, self.limits) + (f" ({outcome.told})" if outcome.told else "")
                    retryable = is_retryable(code)
                    await tx.writes.fail(claim, code=code, detail=detail, retryable=retryable)
                    tx.outbox.add(
                        DocumentFailed(
                            tenant_id=claim.tenant_id,
                            document_id=claim.document_id,
                            error_code=code,
                            error_detail=detail,
                            attempts=claim.attempt,
                            retryable=retryable,
                        )
                    )
                case Postponed(code):
                    await tx.writes.postpone(
                        claim,
                        delay=outcome.delay,
                        code=code,
                        detail=explain(code, self.limits),
                        spends_attempt=outcome.spends_attempt,
                    )
                case Released():
                    await tx.writes.release(claim)
                case Ready() | Lost():
                    return
                case _:
                    assert_never(outcome)

        if isinstance(outcome, Released):
            async with self.uow(claim.tenant_id) as tx:  # the worker has no time for patience
                await write(tx)
        elif not isinstance(outcome, Ready | Lost):
            await self.commit(claim.tenant_id, write)

    def _record(self, job: Job, outcome: Outcome) -> None:
        match outcome:
            case Ready(completion):
                logger.info(
                    "document.ready",
                    pages=completion.pages,
                    chunks=completion.chunks,
                    tokens=completion.tokens,
                    seconds={stage: round(seconds, 3) for stage, seconds in job.stages.items()},
                )
                for stage, seconds in job.stages.items():
                    self.meter.stage(stage, seconds)
                self.meter.finished("ready")
            case Failed(code):
                logger.warning("document.failed", code=code.value)
                self.meter.finished(code.value)
            case Postponed(code, delay):
                logger.info("document.postponed", code=code.value, seconds=delay.total_seconds())
                self.meter.finished("postponed")
            case Released():
                logger.info("document.released")
            case Lost():
                logger.info("document.claim_lost")
                self.meter.finished("lost")
            case _:
                assert_never(outcome)


def _ticket_of(claim: Claim) -> WaitingDocument:
    return WaitingDocument(
        document_id=claim.document_id,
        tenant_id=claim.tenant_id,
        collection_id=claim.collection_id,
        uploaded_by=claim.uploaded_by,
        uploaded_with=claim.uploaded_with,
        sha256=claim.sha256,
        size_bytes=claim.size_bytes,
        media_type=claim.media_type,
        attempts=claim.attempt,
        waiting_since=claim.lease_expires_at,
    )
