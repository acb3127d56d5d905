"""The transactional outbox: an event is a row of the transaction that caused it; the relay brings it to the broker."""

import json
from typing import Final

import asyncpg
import structlog

from docuchat_common.acts import current_act
from docuchat_common.events.catalogue import AuditRecorded
from docuchat_common.events.envelope import Event
from docuchat_common.telemetry import trace_headers

_INSERT: Final = """
INSERT INTO @schema@.outbox (event_id, type, tenant_id, body, headers)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bytea[], $5::jsonb[])
"""


class Outbox:
    """Collects the events of one transaction; the unit of work writes them just before it commits."""

    def __init__(self, connection: asyncpg.Connection, schema: str, service: str) -> None:
        """`service` is who publishes: the events' source, which the broker and every consumer check."""
        self._connection = connection
        self._service = service
        self._insert = _INSERT.replace("@schema@", schema)
        self._events: list[Event] = []

    def add(self, event: Event) -> None:
        """Publish `event` if, and only if, this transaction commits."""
        if self._service not in event.published_by:
            raise ValueError(f"{self._service} does not publish {event.type}; the catalogue says who does")
        self._events.append(event)

    async def flush(self) -> int:
        """Write the collected events; returns how many. Called by the unit of work."""
        if not self._events:
            return 0
        headers = json.dumps(current_headers())
        count = len(self._events)
        if (act := current_act()) is not None:
            act.written += [event.action for event in self._events if isinstance(event, AuditRecorded)]
        await self._connection.execute(
            self._insert,
            [event.id for event in self._events],
            [event.type for event in self._events],
            [event.tenant_id for event in self._events],
            [event.to_cloudevent(self._service) for event in self._events],
            [headers] * count,
        )
        self._events.clear()
        return count


def current_headers() -> dict[str, str]:
    """Trace context and request id of the current context, to travel with an event."""
    headers = trace_headers()
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if isinstance(request_id, str):
        headers["request-id"] = request_id
    return headers
