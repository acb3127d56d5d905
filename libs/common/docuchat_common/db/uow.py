"""The unit of work: the only way to the database.

`async with uow(tenant_id) as tx:` opens a transaction in which row-level security shows this tenant's rows only, and
`uow.as_caller(caller)` one that also shows only what the caller may see. Leaving the block commits, an exception rolls
back; nobody calls commit. Never hold it across a model call or a stream.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Generic, Protocol, TypeVar

import asyncpg

from docuchat_common.acts import doubt_act
from docuchat_common.db.pool import Database
from docuchat_common.db.transactions import Reader, transaction
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.ids import TenantId
from docuchat_common.messaging.inbox import Inbox
from docuchat_common.messaging.outbox import Outbox

__all__ = ["Reader", "Transactions", "UnitOfWork"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Transactions(Protocol[T_co]):
    """What a use case needs of a unit of work; `UnitOfWork` says what each opens."""

    def __call__(self, tenant_id: TenantId) -> AbstractAsyncContextManager[T_co]: ...

    def as_caller(self, caller: Reader) -> AbstractAsyncContextManager[T_co]: ...

    def system(self) -> AbstractAsyncContextManager[T_co]: ...


class UnitOfWork(Generic[T]):
    """Opens transactions and composes the service's own `tx` (repositories, outbox, inbox) on each."""

    def __init__(
        self,
        database: Database,
        compose: Callable[[asyncpg.Connection, Outbox, Inbox], T],
        *,
        schema: str,
        service: str | None = None,
        on_events_committed: Callable[[], None] | None = None,
    ) -> None:
        """`schema` holds outbox and inbox; `service` publishes, and has the schema's name unless said.

        `on_events_committed` wakes the relay (`Relay.wake`).
        """
        self._database = database
        self._compose = compose
        self._schema = schema
        self._service = service or schema
        self._on_events_committed = on_events_committed

    @asynccontextmanager
    async def __call__(self, tenant_id: TenantId) -> AsyncIterator[T]:
        """A transaction of the weak application role inside one tenant: for what a service does by itself."""
        async with self._transaction(system=False, tenant_id=tenant_id) as tx:
            yield tx

    @asynccontextmanager
    async def as_caller(self, caller: Reader) -> AsyncIterator[T]:
        """A transaction of the weak application role inside the caller's tenant, in the caller's role and groups."""
        async with self._transaction(system=False, tenant_id=caller.tenant_id, reader=caller) as tx:
            yield tx

    @asynccontextmanager
    async def system(self) -> AsyncIterator[T]:
        """A transaction of the service's system role, across tenants: for relay, sweeps and sign-in only."""
        async with self._transaction(system=True, tenant_id=None) as tx:
            yield tx

    @asynccontextmanager
    async def snapshot(self, tenant_id: TenantId) -> AsyncIterator[asyncpg.Connection]:
        """A read-only transaction of one moment inside one tenant: for what is told of it row by row."""
        async with (
            self._database.connection() as connection,
            transaction(connection, tenant_id, is_snapshot=True),
        ):
            yield connection

    @asynccontextmanager
    async def _transaction(
        self, *, system: bool, tenant_id: TenantId | None, reader: Reader | None = None
    ) -> AsyncIterator[T]:
        try:
            async with (
                self._database.connection(system=system) as connection,
                transaction(connection, tenant_id, reader),
            ):
                outbox = Outbox(connection, self._schema, self._service)
                yield self._compose(connection, outbox, Inbox(connection, self._schema))
                published = await outbox.flush()
        except UpstreamUnavailable:
            doubt_act()
            raise
        if published and self._on_events_committed is not None:
            self._on_events_committed()
