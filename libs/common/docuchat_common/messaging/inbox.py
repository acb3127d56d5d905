"""The inbox: makes at-least-once delivery take effect once. Its row shares the transaction of the effect."""

from datetime import timedelta
from typing import Final
from uuid import UUID

import asyncpg

_CLAIM: Final = """
INSERT INTO @schema@.inbox (consumer, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true
"""
_FORGET: Final = "DELETE FROM @schema@.inbox WHERE received_at < now() - $1::interval"


class Inbox:
    """Which events this schema's consumers have taken effect of."""

    def __init__(self, connection: asyncpg.Connection, schema: str) -> None:
        self._connection = connection
        self._claim = _CLAIM.replace("@schema@", schema)
        self._forget = _FORGET.replace("@schema@", schema)

    async def claim(self, consumer: str, event_id: UUID) -> bool:
        """True for the first claim of `event_id` by `consumer`; False when its effect is already committed.

        A concurrent claim of the same event waits for the first transaction to end.
        """
        return await self._connection.fetchval(self._claim, consumer, event_id) is True

    async def forget(self, older_than: timedelta) -> None:
        """Drop claims older than `older_than`, which must exceed the longest time a message can stay queued."""
        await self._connection.execute(self._forget, older_than)
