"""What removed users are counted with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg

from docuchat_common.db import load_queries
from docuchat_common.ids import UserId
from docuchat_common.removals import RemovedUser, RemovedUsers, removed_user
from docuchat_usage.quotas.domain import Period

_queries: Final = load_queries(__package__)


class LegacyRepository:
    """Budgets and counted documents of removed users; `list_left` in a system transaction."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.removed = RemovedUsers(connection, "usage")

    async def list_left(self, limit: int) -> Sequence[RemovedUser]:
        """Removed users, of all tenants, who are counted all the same."""
        return [removed_user(row) async for row in _queries.list_left(self._connection, row_limit=limit)]

    async def remove(self, who: RemovedUser, heir: UserId | None, now: datetime) -> int:
        """Count the user's documents for the heir, and drop the budgets; gives how many."""
        period = Period.month_of(now)
        gone: int = await _queries.remove_user(
            self._connection,
            tenant_id=who.tenant_id,
            user_id=who.user_id,
            key_ids=list(who.key_ids),
            heir=heir,
            period_start=period.starts_at,
            period_end=period.ends_at,
        )
        return gone
