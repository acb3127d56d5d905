"""Erase what a service keeps of a tenant that was deleted: once, in bounded batches, whatever stops it midway.

First a tombstone, from which on nothing is added for the tenant (`refuse_erased_v1`) and what comes late by the broker
is acknowledged (`TenantGone`); then the rows; then what is outside of the database; then `tenant.erased.v1` says so.
What was erased is counted in the transactions that erase it, so that a repetition counts nothing twice.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Protocol

import asyncpg
import structlog

from docuchat_common.db.uow import Transactions
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import TenantErased
from docuchat_common.ids import TenantId
from docuchat_common.messaging.outbox import Outbox

logger = structlog.get_logger()

BATCH: Final = 2_000
"""Rows that go in one transaction."""
LEASE: Final = timedelta(seconds=30)
"""After so long without a step another process goes on with an erasure."""
ERASE_EVERY: Final = timedelta(seconds=2)
"""How often a service looks for tenants to erase."""
_PATIENCE: Final = timedelta(seconds=10)

_BEGIN: Final = "SELECT @schema@.begin_erasure_v1($1)"
_TAKE: Final = """
UPDATE @schema@.erased_tenants SET leased_until = now() + $1::interval
WHERE tenant_id = (SELECT e.tenant_id FROM @schema@.erased_tenants e
                   WHERE e.finished_at IS NULL AND (e.leased_until IS NULL OR e.leased_until < now())
                   ORDER BY e.begun_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING tenant_id
"""
_ERASE: Final = "SELECT erased, is_left FROM @schema@.erase_v1($1, $2)"
_COUNT: Final = """
UPDATE @schema@.erased_tenants e
SET leased_until = now() + $3::interval,
    erased = (SELECT coalesce(jsonb_object_agg(c.name, c.amount), '{}')
              FROM (SELECT each.key AS name, sum(each.value::bigint) AS amount
                    FROM (SELECT * FROM jsonb_each_text(e.erased)
                          UNION ALL SELECT * FROM jsonb_each_text($2::jsonb)) AS each
                    GROUP BY each.key) AS c)
WHERE e.tenant_id = $1 AND e.finished_at IS NULL
"""
_FINISH: Final = """
UPDATE @schema@.erased_tenants SET finished_at = now(), leased_until = NULL
WHERE tenant_id = $1 AND finished_at IS NULL
RETURNING erased
"""

_RECENT: Final = "SELECT tenant_id FROM @schema@.erased_tenants WHERE finished_at > now() - $1::interval"


class Erasures:
    """The tenants that are erased from a schema. System transactions only."""

    def __init__(self, connection: asyncpg.Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema

    async def begin(self, tenant_id: TenantId) -> bool:
        """Let nothing be added for a tenant from this commit on; False while somebody is about to."""
        begun: bool = await self._connection.fetchval(self._sql(_BEGIN), tenant_id)
        return begun

    async def take(self) -> TenantId | None:
        """A tenant whose erasure is to go on, for this process alone."""
        found = await self._connection.fetchval(self._sql(_TAKE), LEASE)
        return None if found is None else TenantId(found)

    async def erase(self, tenant_id: TenantId, limit: int) -> tuple[int, bool]:
        """Delete some rows: how many, and whether any are left."""
        row = await self._connection.fetchrow(self._sql(_ERASE), tenant_id, limit)
        assert row is not None  # a function gives one row
        erased = json.loads(row["erased"])
        await self.count(tenant_id, erased)
        return sum(erased.values()), row["is_left"]

    async def count(self, tenant_id: TenantId, erased: Mapping[str, int]) -> None:
        """Add to what was erased, and keep the lease."""
        await self._connection.execute(self._sql(_COUNT), tenant_id, json.dumps(dict(erased)), LEASE)

    async def finish(self, tenant_id: TenantId) -> dict[str, int] | None:
        """Nothing is left: all that was erased; None when that was known."""
        found = await self._connection.fetchval(self._sql(_FINISH), tenant_id)
        return None if found is None else {name: int(amount) for name, amount in json.loads(found).items()}

    async def list_recent(self, since: timedelta) -> list[TenantId]:
        """Tenants whose erasure was finished within this time."""
        return [TenantId(row["tenant_id"]) for row in await self._connection.fetch(self._sql(_RECENT), since)]

    def _sql(self, statement: str) -> str:
        return statement.replace("@schema@", self._schema)


class ErasingTx(Protocol):
    """What of a transaction an erasure uses."""

    @property
    def erasures(self) -> Erasures:
        """The tenants that are erased."""

    @property
    def outbox(self) -> Outbox:
        """Events."""


EraseOutside = Callable[[TenantId], Awaitable[Mapping[str, int]]]
"""Erases what is not in rows, or not to be deleted as rows are; how much of what. Safe to repeat."""


class TenantErasure:
    """Erases deleted tenants from one service."""

    def __init__(
        self,
        transactions: Transactions[ErasingTx],
        service: str,
        *,
        before: Sequence[EraseOutside] = (),
        after: Sequence[EraseOutside] = (),
        kept: Mapping[str, str] | None = None,
        batch: int = BATCH,
    ) -> None:
        """`before` and `after` the rows; `kept` says what stays, and why."""
        self._transactions = transactions
        self._service = service
        self._before = before
        self._after = after
        self._kept = dict(kept or {})
        self._batch = batch

    async def begin(self, tenant_id: TenantId) -> None:
        """Put up the tombstone; `go_on` does the rest. Again changes nothing. Raises UpstreamUnavailable."""
        try:
            async with asyncio.timeout(_PATIENCE.total_seconds()):
                while True:
                    async with self._transactions.system() as tx:
                        if await tx.erasures.begin(tenant_id):
                            return
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise UpstreamUnavailable("The tenant is still written to.", retry_after=timedelta(seconds=5)) from error

    async def go_on(self) -> None:
        """Erase what is left of all tenants whose erasure has begun and that no other process is about."""
        while True:
            async with self._transactions.system() as tx:
                tenant_id = await tx.erasures.take()
            if tenant_id is None:
                return
            await self.erase(tenant_id)

    async def erase(self, tenant_id: TenantId) -> None:
        """Erase a tenant whose erasure has begun, to its end."""
        for step in self._before:
            await self._outside(tenant_id, step)
        while True:
            async with self._transactions.system() as tx:
                gone, is_left = await tx.erasures.erase(tenant_id, self._batch)
            if not is_left:
                break
            if not gone:
                await asyncio.sleep(0.05)  # somebody holds what is left
        for step in self._after:
            await self._outside(tenant_id, step)
        async with self._transactions.system() as tx:
            erased = await tx.erasures.finish(tenant_id)
            if erased is not None:
                tx.outbox.add(TenantErased(tenant_id=tenant_id, service=self._service, erased=erased, kept=self._kept))
        logger.info("tenant.erased", tenant_id=tenant_id, erased=erased)

    async def _outside(self, tenant_id: TenantId, step: EraseOutside) -> None:
        erased: Mapping[str, Any] = await step(tenant_id)
        if any(erased.values()):
            async with self._transactions.system() as tx:
                await tx.erasures.count(tenant_id, {name: amount for name, amount in erased.items() if amount})
