"""What usage counts as stored is compared with the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import pytest
from services.gateway.tests.conftest import PDF, Gateway

from docuchat_common.contracts.holdings import Holding
from docuchat_common.ids import uuid7
from docuchat_gateway.adapters.holdings import UsageHoldings
from docuchat_gateway.documents.holdings import Comparison, HoldingsComparison

if TYPE_CHECKING:
    from docuchat_common.http.client import ServiceClient


@dataclass
class Counts:
    """A usage service that counts, and does as it is told."""

    held: dict[UUID, Holding] = field(default_factory=dict)
    stuck: UUID | None = None

    async def list_counted(self, after: UUID | None, limit: int) -> Sequence[Holding]:
        page = sorted((one for one in self.held.values()), key=lambda one: one.document_id)
        return [one for one in page if after is None or one.document_id > after][:limit]

    async def recount(self) -> int:
        return 1

    async def correct(self, holdings: Sequence[Holding]) -> int:
        free = [one for one in holdings if one.document_id != self.stuck]
        for one in free:
            if one.is_gone:
                self.held.pop(one.document_id)
            else:
                self.held[one.document_id] = one
        return len(free)


@pytest.mark.parametrize("page_size", [1, 2, 3, 100])
async def test_what_events_did_not_say_is_counted_by_the_rows(gateway: Gateway, page_size: int) -> None:
    ids = [UUID((await (await gateway.upload(PDF + b"%d" % n)).json())["id"]) for n in range(5)]
    async with gateway.database.connect() as connection:
        await connection.execute(
            "UPDATE knowledge.documents SET status = 'ready', pages = 7, generation = 1 WHERE id = $1", ids[1]
        )
        await connection.execute("UPDATE knowledge.documents SET pages = 9 WHERE id = $1", ids[2])  # is being read
    await gateway.call("DELETE", f"/v1/files/{ids[0]}", headers=gateway.headers())
    ghost = Holding(document_id=uuid7(), tenant_id=2, size_bytes=10)
    deleted = Holding(document_id=ids[0], tenant_id=1, size_bytes=len(PDF) + 1, pages=2, generation=1)
    unread = Holding(document_id=ids[1], tenant_id=1, size_bytes=len(PDF) + 1)
    right = Holding(document_id=ids[2], tenant_id=1, size_bytes=len(PDF) + 1)
    counts = Counts({one.document_id: one for one in (ghost, deleted, unread, right)})
    comparison = HoldingsComparison(gateway.container.operator._system_uow, counts, page_size)

    assert await comparison.compare() == Comparison(5, 0, 1)
    assert {one: (held.size_bytes, held.pages) for one, held in counts.held.items()} == {
        ids[1]: (len(PDF) + 1, 7),
        ids[2]: (len(PDF) + 1, 0),
        ids[3]: (len(PDF) + 1, 0),
        ids[4]: (len(PDF) + 1, 0),
    }
    assert counts.held[ids[3]].user_id == gateway.user
    assert await comparison.compare() == Comparison(0, 0, 1)


async def test_only_what_was_changed_counts_as_corrected(gateway: Gateway) -> None:
    ghosts = [Holding(document_id=uuid7(), tenant_id=2, size_bytes=10) for _ in range(3)]
    counts = Counts({one.document_id: one for one in ghosts}, stuck=ghosts[0].document_id)
    comparison = HoldingsComparison(gateway.container.operator._system_uow, counts)
    assert await comparison.compare() == Comparison(2, 1, 1)
    assert await comparison.compare() == Comparison(0, 1, 1)


class Sums:
    """A usage service that recounts its tenants on three pages."""

    pages = {  # noqa: RUF012 - never changed
        "/internal/holdings/sums?after=0": {"corrected": 2, "after": 7},
        "/internal/holdings/sums?after=7": {"corrected": 0, "after": 9},
        "/internal/holdings/sums?after=9": {"corrected": 3, "after": None},
    }

    async def request_json(self, method: str, path: str, **_: Any) -> Any:
        assert method == "POST"
        return self.pages[path]


async def test_all_pages_of_a_recount_are_asked_for_and_summed() -> None:
    assert await UsageHoldings(cast("ServiceClient", Sums()), "token").recount() == 5
