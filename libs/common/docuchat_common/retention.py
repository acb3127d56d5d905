"""How long a tenant keeps what its people make: told by auth, kept beside the data, and swept."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

import asyncpg
import structlog

from docuchat_common.clock import Clock
from docuchat_common.db.uow import Transactions
from docuchat_common.ids import TenantId

logger = structlog.get_logger()

SWEEP_EVERY: Final = timedelta(minutes=10)
_PAGE: Final = 500

_PUT: Final = """
INSERT INTO @schema@.retention_rules AS r (tenant_id, version, keep_days) VALUES ($1, $2, $3)
ON CONFLICT (tenant_id) DO UPDATE SET version = excluded.version, keep_days = excluded.keep_days
WHERE r.version < excluded.version
"""
_LIST: Final = """
SELECT tenant_id, keep_days FROM @schema@.retention_rules
WHERE keep_days IS NOT NULL AND tenant_id > $1 ORDER BY tenant_id LIMIT $2
"""


class RetentionRules:
    """For how many days each tenant keeps what one schema holds."""

    def __init__(self, connection: asyncpg.Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema

    async def put(self, tenant_id: TenantId, version: int, keep_days: int | None) -> None:
        """Keep a tenant's rule, None for ever; an older one than is known changes nothing."""
        await self._connection.execute(_PUT.replace("@schema@", self._schema), tenant_id, version, keep_days)

    async def list_after(self, after: int, limit: int) -> list[tuple[TenantId, timedelta]]:
        """System transactions only: the next tenants that keep things for a time."""
        rows = await self._connection.fetch(_LIST.replace("@schema@", self._schema), after, limit)
        return [(TenantId(row["tenant_id"]), timedelta(days=row["keep_days"])) for row in rows]


class RetentionTx(Protocol):
    """What of a transaction retention uses."""

    @property
    def retention(self) -> RetentionRules:
        """The tenants' rules."""


class Retention:
    """Deletes what is older than its tenant keeps it, by the ordinary way of deletion."""

    def __init__(
        self,
        transactions: Transactions[RetentionTx],
        clock: Clock,
        delete_older: Callable[[TenantId, datetime], Awaitable[int]],
    ) -> None:
        """`delete_older` deletes a tenant's things of before a moment; returns how many."""
        self._transactions = transactions
        self._clock = clock
        self._delete_older = delete_older

    async def hear(self, tenant_id: TenantId, version: int, keep_days: int | None) -> None:
        """Keep what a tenant has chosen. What comes late, or again, changes nothing."""
        async with self._transactions(tenant_id) as tx:
            await tx.retention.put(tenant_id, version, keep_days)

    async def sweep(self) -> int:
        """Delete what is too old, of all tenants; returns how many."""
        deleted, after = 0, 0
        while True:
            async with self._transactions.system() as tx:
                rules = await tx.retention.list_after(after, _PAGE)
            for tenant_id, keep in rules:
                count = await self._delete_older(tenant_id, self._clock.now() - keep)
                if count:
                    logger.info("retention.deleted", tenant_id=tenant_id, count=count)
                deleted += count
            if len(rules) < _PAGE:
                return deleted
            after = rules[-1][0]
