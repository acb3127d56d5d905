"""What is stored compared with what is counted: the events that the broker loses are never seen again."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

import structlog
from prometheus_client import Counter

from docuchat_common.contracts.holdings import PAGE_SIZE, Holding
from docuchat_gateway.documents.ports import CountedHoldings, OpenSystemTransaction
from docuchat_knowledge.documents.domain import HeldDocument

logger = structlog.get_logger()

_corrected = Counter("docuchat_holdings_corrected", "Documents that usage counted otherwise than they are stored.")
_BATCH = 100


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was counted otherwise than it is stored."""

    corrected: int
    left: int
    """Documents that are as they were: heard of meanwhile, or not to be corrected, which usage has logged."""
    tenants: int
    """Whose sums were others than their documents come to."""


class HoldingsComparison:
    """Goes by the rows of all tenants, in order of their ids."""

    def __init__(self, system_uow: OpenSystemTransaction, counted: CountedHoldings, page_size: int = PAGE_SIZE) -> None:
        self._system_uow = system_uow
        self._counted = counted
        self._page_size = page_size

    async def compare(self) -> Comparison:
        """Have usage count what is stored and nothing else, and charge by it.

        An event that is under way does no harm when it arrives: each fact of a document counts once.
        Raises UpstreamUnavailable.
        """
        sums = await self._counted.recount()  # first: what is counted wrongly is given back from a right sum
        corrected, left, after = 0, 0, None
        while True:
            # counted first: what counts was stored before, so that its row is missing only when it was deleted
            counted = await self._counted.list_counted(after, self._page_size)
            async with self._system_uow() as tx:
                stored = [_holding(row) for row in await tx.documents.list_holdings(after=after, limit=self._page_size)]
            ends = [page[-1].document_id for page in (counted, stored) if len(page) == self._page_size]
            after = min(ends, default=None)
            wrong = [*_differing(_until(after, counted), _until(after, stored))]
            for begin in range(0, len(wrong), _BATCH):
                batch = wrong[begin : begin + _BATCH]
                changed = await self._counted.correct(batch)
                corrected, left = corrected + changed, left + len(batch) - changed
                _corrected.inc(changed)
            if after is None:
                if corrected or left or sums:
                    logger.warning("holdings.corrected", documents=corrected, left=left, tenants=sums)
                return Comparison(corrected, left, sums)


def _until(end: UUID | None, holdings: Iterable[Holding]) -> dict[UUID, Holding]:
    return {one.document_id: one for one in holdings if end is None or one.document_id <= end}


def _differing(counted: dict[UUID, Holding], stored: dict[UUID, Holding]) -> Iterator[Holding]:
    """What usage has to be told: documents that it counts otherwise or not at all, and those that are gone."""
    for document_id, holding in stored.items():
        known = counted.get(document_id)
        if known is None or _amounts(known) != _amounts(holding):
            yield holding
    for document_id, holding in counted.items():
        if document_id not in stored:
            yield holding.model_copy(update={"is_gone": True})


def _amounts(holding: Holding) -> tuple[int, int, int]:
    return holding.size_bytes, holding.pages, holding.generation


def _holding(row: HeldDocument) -> Holding:
    return Holding(
        document_id=row.id,
        tenant_id=row.tenant_id,
        user_id=row.uploaded_by,
        size_bytes=row.size_bytes,
        pages=row.pages,
        generation=row.generation,
    )
