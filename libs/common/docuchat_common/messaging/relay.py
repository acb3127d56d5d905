"""The relay: brings committed outbox rows to the broker, in order, and deletes what the broker confirmed.

A crash between confirm and delete publishes a row twice; the subscribers' inboxes absorb that.
"""

import asyncio
import json
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter, Gauge

from docuchat_common.db.pool import Database
from docuchat_common.db.transactions import transaction
from docuchat_common.events.envelope import source_of
from docuchat_common.messaging.broker import Publisher, Unroutable
from docuchat_common.messaging.topology import published_types

logger = structlog.get_logger()

_TAKE_TURN: Final = "SELECT pg_try_advisory_xact_lock($1)"
_NEXT: Final = """
SELECT id, event_id, type, body, headers, extract(epoch FROM now() - created_at)::float8 AS age
FROM @schema@.outbox
WHERE type = ANY($1::text[]) AND position($3::bytea IN substring(body FROM 1 FOR 200)) > 0
ORDER BY id LIMIT $2
"""
_OLDEST: Final = """
SELECT coalesce(extract(epoch FROM now() - min(created_at))::float8, 0)
FROM (
    SELECT created_at FROM @schema@.outbox
    WHERE type = ANY($1::text[]) AND position($2::bytea IN substring(body FROM 1 FOR 200)) > 0
    ORDER BY id LIMIT 1
) AS oldest
"""
_DELETE: Final = "DELETE FROM @schema@.outbox WHERE id = ANY($1::bigint[])"

_lag = Gauge("docuchat_outbox_lag_seconds", "Age of the oldest event not yet confirmed by the broker.", ["service"])
_unroutable = Counter(
    "docuchat_outbox_unroutable", "Times that an event which a service of ours must get found no queue.", ["type"]
)


_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_HINT: Final = "its queue is not declared; run `python -m docuchat_setup topology`"


@dataclass(frozen=True, slots=True)
class _HeldUp:
    until: float
    pause: float


class Relay:
    """One background task a process; the relays of one service take turns by an advisory lock."""

    def __init__(
        self,
        database: Database,
        schema: str,
        publisher: Publisher,
        *,
        service: str | None = None,
        batch: int = 256,
        poll_seconds: float = 0.5,
        gather_seconds: float = 0.02,
        held_up_seconds: float = _FIRST_PAUSE,
    ) -> None:
        """Relays the events of `service`, which has the schema's name unless said; two services may share a schema.

        `gather_seconds`: woken, it waits so long for more events, that busy times cost a transaction for many.
        """
        self._database = database
        self._schema = schema
        self._publisher = publisher
        self._batch = batch
        self._poll_seconds = poll_seconds
        self._gather_seconds = gather_seconds
        self._held_up_seconds = held_up_seconds
        self._wakeup = asyncio.Event()
        self._service = service or schema
        self._types = frozenset(published_types(self._service))
        # of a type that two services publish each relays its own: consumers compare the source with the login
        self._source = f'"source":"{source_of(self._service)}"'.encode()
        self._next = _NEXT.replace("@schema@", schema)
        self._oldest = _OLDEST.replace("@schema@", schema)
        self._delete = _DELETE.replace("@schema@", schema)
        self._turn_key = zlib.crc32(f"docuchat relay {schema} {self._service}".encode())
        self._held_up: dict[str, _HeldUp] = {}

    def wake(self) -> None:
        """Events were committed in this process: relay them now rather than at the next poll."""
        self._wakeup.set()

    async def run(self) -> None:
        """Relay until cancelled, or until database or broker fail; to be started again then (`Background.start`)."""
        while True:
            if await self.relay_batch():
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wakeup.wait(), timeout=self._poll_seconds)
                await asyncio.sleep(self._gather_seconds)
            self._wakeup.clear()

    async def relay_batch(self) -> bool:
        """Publish and delete up to a batch; True when there may be more. A no-op while another process has the turn."""
        async with self._database.connection(system=True) as connection, transaction(connection):
            if not await connection.fetchval(_TAKE_TURN, self._turn_key):
                return False
            rows = await connection.fetch(self._next, self._types_to_try(), self._batch, self._source)
            if self._held_up:
                _lag.labels(self._service).set(await connection.fetchval(self._oldest, list(self._types), self._source))
            else:
                _lag.labels(self._service).set(rows[0]["age"] if rows else 0)
            if not rows:
                return False
            outcomes = await asyncio.gather(*map(self._publish, rows), return_exceptions=True)
            done = [row["id"] for row, outcome in zip(rows, outcomes, strict=True) if outcome is True]
            if done:
                await connection.execute(self._delete, done)
        self._hold_up({row["type"] for row, outcome in zip(rows, outcomes, strict=True) if outcome is False})
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return len(rows) == self._batch

    def _types_to_try(self) -> list[str]:
        now = time.monotonic()
        return [kind for kind in self._types if kind not in self._held_up or self._held_up[kind].until <= now]

    def _hold_up(self, unroutable: set[str]) -> None:
        """Let types whose queue is missing wait, each longer than the time before; the others go on past them."""
        now = time.monotonic()
        for kind in [kind for kind, held_up in self._held_up.items() if held_up.until <= now]:
            if kind not in unroutable:
                del self._held_up[kind]
        for kind in unroutable:
            before = self._held_up.get(kind)
            pause = min(before.pause * 2, _LONGEST_PAUSE) if before else self._held_up_seconds
            self._held_up[kind] = _HeldUp(until=now + pause, pause=pause)
            logger.warning("relay.unroutable", service=self._service, type=kind, retry_seconds=pause, hint=_HINT)

    async def _publish(self, row: asyncpg.Record) -> bool:
        """True when the broker has the event, False when no queue that must be there is."""
        headers: dict[str, str] = json.loads(row["headers"])
        event_id: UUID = row["event_id"]
        try:
            await self._publisher.publish(row["body"], routing_key=row["type"], message_id=event_id, headers=headers)
        except Unroutable:
            _unroutable.labels(row["type"]).inc()
            return False
        return True
