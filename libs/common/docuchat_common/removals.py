"""Users who were removed from a tenant, and what is theirs in a service.

Each service that keeps something of a user's takes `user.removed.v1`: it remembers who is gone and takes away, or hands
over, what it finds. What was on its way meanwhile - an upload, a question, an event - is found by the same ids, by a
sweep, as long as who is gone is remembered. When a user is erased, each says once how much it was (`user.erased.v1`).
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import asyncpg

from docuchat_common.events.catalogue import UserErased, UserRemoved
from docuchat_common.ids import TenantId, UserId

REMEMBERED: Final = timedelta(days=30)
"""Longer than anything can be on its way."""

_REMEMBER: Final = """
INSERT INTO @schema@.removed_users (tenant_id, user_id, key_ids, hand_over_to, is_erasure)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT ON CONSTRAINT removed_users_key DO NOTHING
"""
_FIND: Final = """
SELECT tenant_id, user_id, key_ids, hand_over_to, is_erasure FROM @schema@.removed_users
WHERE tenant_id = $1 AND user_id = $2
"""
_COUNT: Final = """
UPDATE @schema@.removed_users r
SET counts = (SELECT coalesce(jsonb_object_agg(c.name, c.amount), '{}')
              FROM (SELECT each.key AS name, sum(each.value::bigint) AS amount
                    FROM (SELECT * FROM jsonb_each_text(r.counts)
                          UNION ALL SELECT * FROM jsonb_each_text($3::jsonb)) AS each
                    GROUP BY each.key) AS c)
WHERE r.tenant_id = $1 AND r.user_id = $2 AND r.is_erasure AND r.told_at IS NULL
"""
_FINISH: Final = """
UPDATE @schema@.removed_users SET told_at = now()
WHERE tenant_id = $1 AND user_id = $2 AND is_erasure AND told_at IS NULL
RETURNING counts
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
    is_erasure: bool = False
    """Whether it is to be told how much that is."""

    @classmethod
    def of(cls, event: UserRemoved) -> "RemovedUser":
        """What the event says."""
        heir = None if event.hand_over_to is None else UserId(event.hand_over_to)
        return cls(TenantId(event.tenant_id), UserId(event.user_id), event.key_ids, heir, event.is_erasure)

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
        place = (who.tenant_id, who.user_id, list(who.key_ids), who.hand_over_to)
        await self._connection.execute(sql, *place, who.is_erasure)

    async def count(self, who: RemovedUser, **gone: int) -> None:
        """Add to what is gone, in the transaction in which it goes, so that a repetition counts nothing twice."""
        said = {name: amount for name, amount in gone.items() if amount}
        if who.is_erasure and said:
            await self._connection.execute(self._sql(_COUNT), who.tenant_id, who.user_id, json.dumps(said))

    async def finish(self, who: RemovedUser, service: str, kept: Mapping[str, str]) -> UserErased | None:
        """What is to be told now that nothing is left; None when it was, or when that is nobody's to know."""
        counts = await self._connection.fetchval(self._sql(_FINISH), who.tenant_id, who.user_id)
        if counts is None:
            return None
        gone = {name: int(amount) for name, amount in json.loads(counts).items()}
        return UserErased(tenant_id=who.tenant_id, user_id=who.user_id, service=service, erased=gone, kept=dict(kept))

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
    return RemovedUser(row["tenant_id"], row["user_id"], tuple(row["key_ids"]), row["hand_over_to"], row["is_erasure"])


async def repeat(step: Callable[[], Awaitable[int]]) -> int:
    """Do a step, which does a bounded part of something, until nothing is left; gives how much it was."""
    done = 0
    while part := await step():
        done += part
    return done
