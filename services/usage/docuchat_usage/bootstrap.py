"""Composition root: the only file that names concrete adapters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from docuchat_common.background import Background
from docuchat_common.clock import SystemClock
from docuchat_common.db import Database, UnitOfWork, load_queries
from docuchat_common.erasure import ERASE_EVERY
from docuchat_common.exporting import Exporter
from docuchat_common.http.client import ServiceClient, open_http_client
from docuchat_common.http.health import Check
from docuchat_common.http.identity import TokenVerifier
from docuchat_common.http.refusals import Refusals
from docuchat_common.idempotency import KEY_LIFE, Idempotency
from docuchat_common.messaging.broker import Broker, Publisher
from docuchat_common.messaging.consumer import Consumer
from docuchat_common.messaging.dead_letters import DeadLetterOffice
from docuchat_common.messaging.relay import Relay
from docuchat_usage.adapters.users import TenantUsers
from docuchat_usage.documents.service import DocumentService
from docuchat_usage.handlers import subscriptions
from docuchat_usage.ledger.service import LedgerService
from docuchat_usage.prices.service import PriceService
from docuchat_usage.quotas.service import Policy, QuotaService
from docuchat_usage.removals.service import Removals
from docuchat_usage.settings import Settings
from docuchat_usage.tenant_erasure import make_erasure
from docuchat_usage.transaction import Tx, compose

SCHEMA = "usage"
EXPORTED = ("usage", "usage_days", "quotas")


@dataclass(frozen=True, slots=True)
class Container:
    """What the routes of this process reach."""

    settings: Settings
    verifier: TokenVerifier
    prices: PriceService
    quotas: QuotaService
    users: TenantUsers
    documents: DocumentService
    ledger: LedgerService
    idempotency: Idempotency
    exporter: Exporter
    refusals: Refusals
    dead_letters: DeadLetterOffice
    checks: dict[str, Check]
    watched: dict[str, Check]
    background: frozenset[str]
    """The names of all work that goes on beside the requests."""


@asynccontextmanager
async def open_container(settings: Settings) -> AsyncIterator[Container]:
    """The running service: HTTP's container, with consumer, relay and sweeps in the background."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database.open(
                settings.database_url,
                settings.system_database_url,
                application_name="docuchat-usage",
                max_size=settings.database_pool_size,
            )
        )
        broker = await stack.enter_async_context(Broker.connect(settings.rabbitmq_url, name="docuchat-usage"))
        verifier = await stack.enter_async_context(TokenVerifier.open(settings))
        session = await stack.enter_async_context(open_http_client())
        relay = Relay(database, SCHEMA, Publisher(broker))
        uow: UnitOfWork[Tx] = UnitOfWork(database, compose, schema=SCHEMA, on_events_committed=relay.wake)
        clock = SystemClock()
        policy = Policy(settings.quota_announce_interval, settings.holds_retention)
        quotas = QuotaService(uow, clock, policy)
        documents = DocumentService(uow, clock, settings.inbox_retention)
        ledger = LedgerService(uow, clock, settings.ledger_retention)
        dead_letters = DeadLetterOffice(broker, SCHEMA)
        erasure = make_erasure(uow, dead_letters)
        removals = Removals(uow, clock)
        consumer = Consumer(
            broker, subscriptions(quotas, documents, ledger, removals, erasure, batch=settings.usage_batch)
        )

        async def forget_repeats() -> None:
            async with uow.system() as tx:
                await tx.inbox.forget(settings.inbox_retention)
                await tx.requests.forget(KEY_LIFE)

        background = await stack.enter_async_context(Background())
        background.start("relay", relay.run)
        consumer.start()
        stack.push_async_callback(consumer.stop, settings.shutdown_grace)
        background.every("hold_sweep", settings.hold_sweep_interval, quotas.sweep)
        background.every("hold_purge", timedelta(hours=1), quotas.purge)
        background.every("ledger_forget", timedelta(hours=1), ledger.forget)
        background.every("removals", timedelta(minutes=1), removals.sweep)
        background.every("documents_forget", timedelta(hours=1), documents.forget)
        background.every("erasures", ERASE_EVERY, erasure.go_on)
        background.every("forget_repeats", timedelta(hours=1), forget_repeats)
        yield Container(
            settings=settings,
            verifier=verifier,
            prices=PriceService(uow),
            quotas=quotas,
            users=TenantUsers(ServiceClient(session, settings.auth_url, "auth")),
            documents=documents,
            ledger=ledger,
            idempotency=Idempotency(uow),
            exporter=Exporter(uow, load_queries("docuchat_usage", "exports.sql"), EXPORTED),
            refusals=Refusals(uow),
            dead_letters=dead_letters,
            checks={"postgres": database.check, "auth": verifier.check},
            watched={"rabbitmq": consumer.check},
            background=background.names,
        )
