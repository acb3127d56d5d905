"""Composition root: the only file that names concrete adapters."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from docuchat_common.background import Background
from docuchat_common.clock import SystemClock
from docuchat_common.db import Database, UnitOfWork
from docuchat_common.http.identity import TokenVerifier
from docuchat_common.messaging.broker import Broker, Publisher
from docuchat_common.messaging.consumer import Consumer
from docuchat_common.messaging.dead_letters import DeadLetterOffice
from docuchat_common.messaging.relay import Relay
from docuchat_usage.handlers import subscriptions
from docuchat_usage.ledger.service import LedgerService
from docuchat_usage.prices.service import PriceService
from docuchat_usage.quotas.service import Policy, QuotaService
from docuchat_usage.transaction import Tx, compose

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from docuchat_common.http.health import Check
    from docuchat_usage.settings import Settings

SCHEMA = "usage"


@dataclass(frozen=True, slots=True)
class Container:
    """What the routes of this process reach."""

    settings: Settings
    verifier: TokenVerifier
    prices: PriceService
    quotas: QuotaService
    ledger: LedgerService
    dead_letters: DeadLetterOffice
    checks: dict[str, Check]


@dataclass(frozen=True, slots=True)
class Commands:
    """What the operator's commands reach."""

    prices: PriceService
    quotas: QuotaService


@asynccontextmanager
async def open_commands(settings: Settings) -> AsyncIterator[Commands]:
    """The use cases on the database alone; their events wait for the relay of a running service."""
    async with _open_database(settings, "docuchat-usage-command", 2) as database:
        uow: UnitOfWork[Tx] = UnitOfWork(database, compose, schema=SCHEMA)
        yield Commands(PriceService(uow), QuotaService(uow, SystemClock(), _policy(settings)))


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
        uow: UnitOfWork[Tx] = UnitOfWork(database, compose, schema=SCHEMA, on_events_committed=relay.wake)
        clock = SystemClock()
        quotas = QuotaService(uow, clock, _policy(settings))
        ledger = LedgerService(uow, clock)
        consumer = Consumer(broker, subscriptions(quotas, ledger, settings.usage_prefetch))

        async def forget_events() -> None:
            async with uow.system() as tx:
                await tx.inbox.forget(timedelta(days=settings.keep_inbox_days))

        background = await stack.enter_async_context(Background())
        background.start("relay", relay.run)
        consumer.start()
        stack.push_async_callback(consumer.stop, settings.shutdown_grace)
        background.every("hold_sweep", timedelta(seconds=settings.hold_sweep_seconds), quotas.sweep)
        background.every("hold_purge", timedelta(hours=1), quotas.purge)
        background.every("inbox_forget", timedelta(hours=1), forget_events)
        yield Container(
            settings=settings,
            verifier=verifier,
            prices=PriceService(uow),
            quotas=quotas,
            ledger=ledger,
            dead_letters=DeadLetterOffice(broker, "usage"),
            checks={"database": database.check, "rabbitmq": consumer.check},
        )


def _open_database(settings: Settings, name: str, size: int) -> Any:
    return Database.open(settings.database_url, settings.system_database_url, application_name=name, max_size=size)


def _policy(settings: Settings) -> Policy:
    return Policy(
        announce_refusals_every=timedelta(seconds=settings.quota_announce_seconds),
        keep_closed_holds=timedelta(days=settings.keep_closed_holds_days),
    )
