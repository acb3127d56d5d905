"""Documents whose vectors are of another model than the present one (role: gateway_system, across tenants)."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId
from docuchat_knowledge.jobs.domain import WaitingDocument
from docuchat_knowledge.jobs.rows import waiting_document

_queries = load_queries(__package__)


class ReembeddingStore:
    """Counts and queues what a change of the embedding model left behind: it is found by its words alone."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def count_outdated(self) -> int:
        """Live documents of all tenants whose vectors are of another space than the present one."""
        return int(await _queries.count_outdated(self._connection))

    async def queue_outdated(
        self, *, tenant_id: TenantId | None = None, limit: int = 1000
    ) -> Sequence[WaitingDocument]:
        """Queue up to `limit` of them (one tenant's, or all), oldest first; they answer as before until replaced.

        Each is read, cut and embedded again, which its tenant pays for. Publish a ticket for each, or leave them to the
        worker's sweep.
        """
        rows = [row async for row in _queries.queue_outdated(self._connection, tenant_id=tenant_id, row_limit=limit)]
        return [waiting_document(row) for row in rows]
