"""Composition root: the only file that names concrete adapters."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from docuchat_common.db import Database, UnitOfWork
from docuchat_common.http.identity import TokenVerifier
from docuchat_common.messaging.broker import Broker, Publisher
from docuchat_common.messaging.consumer import Consumer
from docuchat_common.messaging.relay import Relay
from docuchat_usage.adapters import PrometheusMeter, SystemClock, keep_usage_stream, repeat
from docuchat_usage.handlers import subscriptions
from docuchat_usage.repository import PostgresTransaction, compose
from docuchat_usage.service import Policy, UsageService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from docuchat_common.http.health import Check
    from docuchat_usage.settings import Settings

SCHEMA = "usage"


@dataclass(frozen=True, slots=True)
class Container:
    """What the routes of this process reach."""

    settings: Settings
    verifier: TokenVerifier
    service: UsageService
    checks: dict[str, Check]


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[UsageService]:
    """The use cases on the database alone, for commands; their events wait for the relay of a running service."""
    async with _open_database(settings, "docuchat-usage-command", 2) as database:
        uow: UnitOfWork[PostgresTransaction] = UnitOfWork(database, compose, schema=SCHEMA)
        yield UsageService(uow, SystemClock(), PrometheusMeter(), _policy(settings))


@asynccontextmanager
async def open_container(settings: Settings) -> AsyncIterator[Container]:
    """The running service: HTTP's container, with consumer, relay and sweeps in the background."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            _open_database(settings, "docuchat-usage", settings.database_pool_size)
        )
        broker = await stack.enter_async_context(Broker.connect(settings.rabbitmq_url, name="docuchat-usage"))
        verifier = await stack.enter_async_context(TokenVerifier.open(settings))
        relay = Relay(database, SCHEMA, Publisher(broker))
        uow: UnitOfWork[PostgresTransaction] = UnitOfWork(
            database, compose, schema=SCHEMA, on_events_committed=relay.wake
        )
        service = UsageService(uow, SystemClock(), PrometheusMeter(), _policy(settings))
        consumer = Consumer(broker, subscriptions(service, settings.usage_prefetch))

        async def forget_events() -> None:
            async with uow.system() as tx:
                await tx.inbox.forget(timedelta(days=settings.keep_inbox_days))

        await _in_background(stack, relay.run())
        consumer.start()
        stack.push_async_callback(consumer.stop, timedelta(seconds=settings.shutdown_grace_seconds))
        await _in_background(
            stack,
            keep_usage_stream(
                broker,
                consumer,
                max_bytes=settings.usage_stream_max_bytes,
                max_age=settings.usage_stream_max_age,
            ),
        )
        await _in_background(stack, repeat("hold_sweep", timedelta(seconds=settings.hold_sweep_seconds), service.sweep))
        await _in_background(stack, repeat("hold_purge", timedelta(hours=1), service.purge))
        await _in_background(stack, repeat("inbox_forget", timedelta(hours=1), forget_events))
        yield Container(settings, verifier, service, {"database": database.check, "rabbitmq": consumer.check})


def _open_database(settings: Settings, name: str, size: int) -> Any:
    return Database.open(settings.database_url, settings.system_database_url, application_name=name, max_size=size)


def _policy(settings: Settings) -> Policy:
    return Policy(
        announce_refusals_every=timedelta(seconds=settings.quota_announce_seconds),
        keep_closed_holds=timedelta(days=settings.keep_closed_holds_days),
    )


async def _in_background(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)

    async def stop() -> None:
        # Again and again: asyncio.wait_for before Python 3.12 swallows a cancellation that races its result.
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=0.5)

    stack.push_async_callback(stop)
