"""Provider calls in their table (`db.ddl.provider_calls_ddl`), inside one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import asyncpg
import orjson
from prometheus_client import Counter

from docuchat_common.errors import Conflict
from docuchat_common.ids import TenantId
from docuchat_common.messaging.outbox import Outbox
from docuchat_common.metering.bounds import Anomaly, Used
from docuchat_common.metering.calls import ProviderCall, event_id_of, usage_events

_calls = Counter("docuchat_provider_calls", "Provider calls by how they were closed.", ["kind", "outcome"])

_DECLARE: Final = """
INSERT INTO @schema@.provider_calls AS declared
    (id, tenant_id, owner, kind, provider, model, subjects, expected_input_tokens, expected_output_tokens,
     hold_id, chat_id, turn_id, document_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (id) DO UPDATE SET owner = excluded.owner
WHERE declared.state = 'started' AND declared.owner = excluded.owner
RETURNING true
"""
_COLUMNS: Final = """
id, tenant_id, owner, kind, provider, model, subjects, expected_input_tokens, expected_output_tokens,
hold_id, chat_id, turn_id, document_id, input_tokens, output_tokens, estimated
"""
_SETTLE: Final = f"""
UPDATE @schema@.provider_calls
SET state = 'settled', closed_at = now(),
    input_tokens = coalesce($2::bigint, expected_input_tokens),
    output_tokens = coalesce($3::bigint, expected_output_tokens),
    estimated = $4
WHERE id = $1 AND state = 'started'
RETURNING {_COLUMNS}
"""  # noqa: S608 - our own column names
_VOID: Final = """
UPDATE @schema@.provider_calls SET state = 'void', closed_at = now()
WHERE id = $1 AND state = 'started'
RETURNING kind
"""
_LIST_UNBOOKED: Final = """
SELECT id, tenant_id FROM @schema@.provider_calls
WHERE state = 'settled' AND booked_at IS NULL AND coalesce(announced_again_at, closed_at) < now() - $1::interval
ORDER BY coalesce(announced_again_at, closed_at) LIMIT $2
"""
_WAITING: Final = "SELECT event_id FROM @schema@.outbox WHERE event_id = ANY($1::uuid[])"
_CONFIRM_BOOKED: Final = "UPDATE @schema@.provider_calls SET booked_at = now() WHERE id = ANY($1::uuid[])"
_ANNOUNCE_AGAIN: Final = f"""
UPDATE @schema@.provider_calls SET announced_again_at = now()
WHERE id = $1 AND state = 'settled' AND booked_at IS NULL
  AND (announced_again_at IS NULL OR announced_again_at < now() - $2::interval)
RETURNING {_COLUMNS}
"""  # noqa: S608 - as above
_STARTED: Final = """
SELECT id, tenant_id, owner, created_at < now() - $1::interval AS too_old
FROM @schema@.provider_calls WHERE state = 'started' ORDER BY created_at LIMIT $2
"""
_FORGET: Final = "DELETE FROM @schema@.provider_calls WHERE closed_at < now() - $1::interval"


class ProviderCallClosed(Conflict):
    """A provider call of this id was closed before, or belongs to another process; the next try needs a new id."""

    code = "provider_call_closed"


@dataclass(frozen=True, slots=True)
class StartedCall:
    """A call that is not closed."""

    id: UUID
    tenant_id: TenantId
    owner: str
    too_old: bool


class ProviderCalls:
    """The calls of one schema, inside one transaction."""

    def __init__(self, connection: asyncpg.Connection, schema: str, outbox: Outbox) -> None:
        self._connection = connection
        self._schema = schema
        self._outbox = outbox

    async def declare(self, call: ProviderCall) -> None:
        """Note that `call` is about to be made; repeating it changes nothing. Raises ProviderCallClosed."""
        declared = await self._connection.fetchval(
            self._sql(_DECLARE),
            call.id,
            call.tenant_id,
            call.owner,
            call.kind,
            call.provider,
            call.model,
            orjson.dumps([[kind, str(subject)] for kind, subject in call.subjects]).decode(),
            call.expected_input_tokens,
            call.expected_output_tokens,
            call.hold_id,
            call.chat_id,
            call.turn_id,
            call.document_id,
        )
        if declared is None:
            raise ProviderCallClosed

    async def settle(self, call_id: UUID, used: Used) -> bool:
        """Book what a call cost; False, and no effect, unless it was started and still open."""
        return await self._settle(call_id, used, "estimated" if used.estimated else "settled")

    async def settle_as_expected(self, call_id: UUID) -> bool:
        """Book a call as what it was expected to cost, `estimated`; False unless it was started and still open."""
        return await self._settle(call_id, None, "taken_over")

    async def void(self, call_id: UUID) -> bool:
        """Close a call for which the provider bills nothing: it was never sent, or was refused."""
        kind = await self._connection.fetchval(self._sql(_VOID), call_id)
        if kind is not None:
            _calls.labels(kind, "void").inc()
        return kind is not None

    async def list_unbooked(self, patience: timedelta, limit: int) -> list[tuple[TenantId, UUID]]:
        """As `SettledCalls`."""
        rows = await self._connection.fetch(self._sql(_LIST_UNBOOKED), patience, limit)
        return await without_waiting(self._connection, self._schema, rows)

    async def confirm_booked(self, call_ids: list[UUID]) -> None:
        """Note that the ledger has these calls; for the system role."""
        await self._connection.execute(self._sql(_CONFIRM_BOOKED), call_ids)

    async def announce_again(self, call_id: UUID, patience: timedelta) -> bool:
        """Publish the usage event of a settled call once more, under its id; False when that was just done."""
        row = await self._connection.fetchrow(self._sql(_ANNOUNCE_AGAIN), call_id, patience)
        if row is not None:
            self._publish(row, ())
        return row is not None

    async def list_started(self, *, longest: timedelta, limit: int = 1000) -> list[StartedCall]:
        """Open calls of all tenants, the oldest first; for the system role."""
        rows = await self._connection.fetch(self._sql(_STARTED), longest, limit)
        return [StartedCall(row["id"], TenantId(row["tenant_id"]), row["owner"], row["too_old"]) for row in rows]

    async def forget(self, older_than: timedelta) -> None:
        """Delete calls that were closed before that; for the system role. Longer than any event can be on its way."""
        await self._connection.execute(self._sql(_FORGET), older_than)

    async def _settle(self, call_id: UUID, used: Used | None, outcome: str) -> bool:
        row = await self._connection.fetchrow(
            self._sql(_SETTLE),
            call_id,
            used.input_tokens if used else None,
            used.output_tokens if used else None,
            used.estimated if used else True,
        )
        if row is None:
            return False
        self._publish(row, used.anomalies if used else ())
        _calls.labels(row["kind"], outcome).inc()
        return True

    def _publish(self, row: asyncpg.Record, anomalies: tuple[Anomaly, ...]) -> None:
        used = Used(row["input_tokens"], row["output_tokens"], row["estimated"], anomalies)
        for event in usage_events(_call_of(row), used):
            self._outbox.add(event)

    def _sql(self, statement: str) -> str:
        return statement.replace("@schema@", self._schema)


async def without_waiting(
    connection: asyncpg.Connection, schema: str, rows: Sequence[asyncpg.Record]
) -> list[tuple[TenantId, UUID]]:
    """Tenant and id of settled calls, but of those whose event still waits in the outbox of `schema`."""
    events = [event_id_of(row["id"]) for row in rows]
    waiting = {row["event_id"] for row in await connection.fetch(_WAITING.replace("@schema@", schema), events)}
    return [(TenantId(row["tenant_id"]), row["id"]) for row in rows if event_id_of(row["id"]) not in waiting]


def _call_of(row: asyncpg.Record) -> ProviderCall:
    return ProviderCall(
        id=row["id"],
        tenant_id=TenantId(row["tenant_id"]),
        kind=row["kind"],
        provider=row["provider"],
        model=row["model"],
        expected_input_tokens=row["expected_input_tokens"],
        expected_output_tokens=row["expected_output_tokens"],
        owner=row["owner"],
        subjects=tuple((kind, UUID(subject)) for kind, subject in orjson.loads(row["subjects"])),
        hold_id=row["hold_id"],
        chat_id=row["chat_id"],
        turn_id=row["turn_id"],
        document_id=row["document_id"],
    )
