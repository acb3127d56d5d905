"""Users who were removed from a tenant, and what is theirs in a service.

Each service that keeps something of a user's takes `user.removed.v1`: it remembers who is gone and takes away, or hands
over, what it finds. What was on its way meanwhile - an upload, a question, an event - is found by the same ids, by a
sweep, as long as who is gone is remembered.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import asyncpg

from docuchat_common.events.catalogue import UserRemoved
from docuchat_common.ids import TenantId, UserId

REMEMBERED: Final = timedelta(days=30)
"""Longer than anything can be on its way."""

_REMEMBER: Final = """
INSERT INTO @schema@.removed_users (tenant_id, user_id, key_ids, hand_over_to) VALUES ($1, $2, $3, $4)
ON CONFLICT ON CONSTRAINT removed_users_key DO NOTHING
"""
_FIND: Final = """
SELECT tenant_id, user_id, key_ids, hand_over_to FROM @schema@.removed_users
WHERE tenant_id = $1 AND user_id = $2
"""
_FORGET: Final = "DELETE FROM @schema@.removed_users WHERE removed_at < now() - $1::interval"


@dataclass(frozen=True, slots=True)
class RemovedUser:
    """Who is gone, with the API keys that went along."""

    tenant_id: TenantId
    user_id: UserId
    key_ids: tuple[UUID, ...] = ()
    hand_over_to: UserId | None = None
    """Who gets what may be handed over; without an heir it goes."""

    @classmethod
    def of(cls, event: UserRemoved) -> "RemovedUser":
        """What the event says."""
        heir = None if event.hand_over_to is None else UserId(event.hand_over_to)
        return cls(TenantId(event.tenant_id), UserId(event.user_id), event.key_ids, heir)

    @property
    def subject_ids(self) -> list[UUID]:
        """The ids under which the user acted."""
        return [self.user_id, *self.key_ids]

    @property
    def subjects(self) -> list[str]:
        """The same as `Caller.subject` names them."""
        keys = (f"{self.tenant_id}:key:{key_id}" for key_id in self.key_ids)
        return [f"{self.tenant_id}:user:{self.user_id}", *keys]


class RemovedUsers:
    """The removed users of one schema, inside one transaction."""

    def __init__(self, connection: asyncpg.Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema

    async def remember(self, who: RemovedUser) -> None:
        """Note that a user is gone; once more changes nothing."""
        sql = self._sql(_REMEMBER)
        await self._connection.execute(sql, who.tenant_id, who.user_id, list(who.key_ids), who.hand_over_to)

    async def find_heir(self, who: RemovedUser) -> UserId | None:
        """Who gets it now: an heir that is gone as well hands over to its own, or to nobody."""
        heir, seen = who.hand_over_to, {who.user_id}
        while heir is not None and heir not in seen:
            seen.add(heir)
            row = await self._connection.fetchrow(self._sql(_FIND), who.tenant_id, heir)
            if row is None:
                return heir
            heir = removed_user(row).hand_over_to
        return None

    async def forget(self) -> None:
        """Drop who was removed long ago; for the system role."""
        await self._connection.execute(self._sql(_FORGET), REMEMBERED)

    def _sql(self, statement: str) -> str:
        return statement.replace("@schema@", self._schema)


def removed_user(row: asyncpg.Record) -> RemovedUser:
    """A row of the table."""
    return RemovedUser(row["tenant_id"], row["user_id"], tuple(row["key_ids"]), row["hand_over_to"])


async def repeat(step: Callable[[], Awaitable[int]]) -> int:
    """Do a step, which does a bounded part of something, until nothing is left; gives how much it was."""
    done = 0
    while part := await step():
        done += part
    return done
