"""A service that calls providers: its transactions and its calls."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from uuid import uuid4

import asyncpg

from docuchat_common.db import Database, UnitOfWork
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import UsageRecorded, parse_event
from docuchat_common.events.envelope import Event
from docuchat_common.ids import TenantId, uuid7
from docuchat_common.messaging.outbox import Outbox
from docuchat_common.metering import ProviderCall, ProviderCalls, call_id_of
from docuchat_testkit.databases import ClonedDatabase

SCHEMA = "metered"


ONE = TenantId(1)


@dataclass(frozen=True)
class Tx:
    calls: ProviderCalls
    connection: asyncpg.Connection


class Books:
    """The transactions of a service that calls providers, whose COMMIT answers get lost on demand."""

    def __init__(self, opened: Database, database: ClonedDatabase) -> None:
        self._uow = UnitOfWork(opened, self._compose, schema=SCHEMA, service="chat")
        self._database = database
        self.lose_commits = 0
        self.refuse = 0

    def _compose(self, connection: asyncpg.Connection, outbox: Outbox, _: object) -> Tx:
        return Tx(ProviderCalls(connection, SCHEMA, outbox), connection)

    @asynccontextmanager
    async def __call__(self, tenant_id: TenantId) -> AsyncIterator[Tx]:
        if self.refuse:
            self.refuse -= 1
            raise UpstreamUnavailable
        async with self._uow(tenant_id) as tx:
            yield tx
        if self.lose_commits:
            self.lose_commits -= 1
            raise UpstreamUnavailable("The answer to the COMMIT was lost.")

    @asynccontextmanager
    async def system(self) -> AsyncIterator[Tx]:
        async with self._uow.system() as tx:
            yield tx

    async def events(self) -> list[Event]:
        async with self._database.connect() as connection:
            rows = await connection.fetch(f"SELECT body FROM {SCHEMA}.outbox ORDER BY id")
        return [parse_event(row["body"]) for row in rows]

    async def recorded(self) -> list[UsageRecorded]:
        return [event for event in await self.events() if isinstance(event, UsageRecorded)]

    async def states(self) -> list[str]:
        async with self._database.connect() as connection:
            rows = await connection.fetch(f"SELECT state FROM {SCHEMA}.provider_calls ORDER BY created_at")
        return [row["state"] for row in rows]


def a_call(**changes: object) -> ProviderCall:
    call = ProviderCall(
        id=call_id_of("document", uuid4(), 1, 0, 0),
        tenant_id=ONE,
        kind="embedding",
        provider="api.example.com",
        model="embedder",
        expected_input_tokens=120,
        owner="worker-1",
        subjects=(("user", uuid7()),),
        hold_id=uuid7(),
        document_id=uuid7(),
    )
    return replace(call, **changes)


async def everybody_lives(owner: str) -> bool:
    return True


async def nobody_lives(owner: str) -> bool:
    return False
