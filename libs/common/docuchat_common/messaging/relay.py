"""The relay: brings committed outbox rows to the broker, in order, and deletes what the broker confirmed.

A crash between confirm and delete publishes a row twice; the subscribers' inboxes absorb that.
"""

import asyncio
import json
import zlib
from contextlib import suppress
from typing import Final
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter, Gauge

from docuchat_common.db.pool import Database
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import BY_TYPE
from docuchat_common.messaging.broker import Publisher, Unroutable

logger = structlog.get_logger()

_TAKE_TURN: Final = "SELECT pg_try_advisory_xact_lock($1)"
_NEXT: Final = """
SELECT id, event_id, type, body, headers, extract(epoch FROM now() - created_at)::float8 AS age
FROM @schema@.outbox WHERE id > $1 ORDER BY id LIMIT $2
"""
_DELETE: Final = "DELETE FROM @schema@.outbox WHERE id = ANY($1::bigint[])"

_lag = Gauge("docuchat_outbox_lag_seconds", "Age of the oldest event not yet confirmed by the broker.", ["schema"])
_unroutable = Counter("docuchat_outbox_unroutable", "Events that found no queue.", ["type"])


class Relay:
    """One background task a process; the relays of one schema take turns by an advisory lock."""

    def __init__(
        self,
        database: Database,
        schema: str,
        publisher: Publisher,
        *,
        batch: int = 256,
        poll_seconds: float = 0.5,
        gather_seconds: float = 0.02,
    ) -> None:
        """`gather_seconds`: woken, it waits so long for more events, that busy times cost a transaction for many."""
        self._database = database
        self._schema = schema
        self._publisher = publisher
        self._batch = batch
        self._poll_seconds = poll_seconds
        self._gather_seconds = gather_seconds
        self._wakeup = asyncio.Event()
        self._next = _NEXT.replace("@schema@", schema)
        self._delete = _DELETE.replace("@schema@", schema)
        self._turn_key = zlib.crc32(f"docuchat relay {schema}".encode())

    def wake(self) -> None:
        """Events were committed in this process: relay them now rather than at the next poll."""
        self._wakeup.set()

    async def run(self) -> None:
        """Relay until cancelled; trouble with database or broker is waited out."""
        pause = self._poll_seconds
        while True:
            try:
                more = await self.relay_batch()
                pause = self._poll_seconds
            except UpstreamUnavailable as error:
                more = False
                logger.warning("relay.waiting", schema=self._schema, reason=error.detail)
                pause = min(pause * 2, 2.0)
            except Exception:  # a relay that dies would silence the service
                more = False
                logger.exception("relay.failed", schema=self._schema)
                pause = min(pause * 2, 2.0)
            if not more:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wakeup.wait(), timeout=pause)
                    await asyncio.sleep(self._gather_seconds)
                self._wakeup.clear()

    async def relay_batch(self) -> bool:
        """Publish and delete up to a batch; True when there may be more. A no-op while another process has the turn."""
        async with self._database.connection(system=True) as connection, connection.transaction():
            if not await connection.fetchval(_TAKE_TURN, self._turn_key):
                return False
            rows = await connection.fetch(self._next, 0, self._batch)
            _lag.labels(self._schema).set(rows[0]["age"] if rows else 0)
            if not rows:
                return False
            outcomes = await asyncio.gather(*map(self._publish, rows), return_exceptions=True)
            done = [row["id"] for row, outcome in zip(rows, outcomes, strict=True) if outcome is True]
            if done:
                await connection.execute(self._delete, done)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return len(done) == self._batch

    async def _publish(self, row: asyncpg.Record) -> bool:
        """True when the row's work is done."""
        headers: dict[str, str] = json.loads(row["headers"])
        event_id: UUID = row["event_id"]
        try:
            await self._publisher.publish(row["body"], routing_key=row["type"], message_id=event_id, headers=headers)
        except Unroutable:
            _unroutable.labels(row["type"]).inc()
            event_class = BY_TYPE.get(row["type"])
            # an event that drives the product waits for its subscriber's queue; any other is news nobody asked for
            return event_class is None or not event_class.needs_subscriber
        return True
