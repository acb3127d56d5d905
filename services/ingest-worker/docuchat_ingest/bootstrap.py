"""Composition root: the only file that names concrete adapters."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Final

import structlog
from redis.asyncio import Redis

from docuchat_common.background import Background
from docuchat_common.blobs import Blobs
from docuchat_common.clock import SystemClock
from docuchat_common.db import Database, UnitOfWork
from docuchat_common.db.presence import Presence
from docuchat_common.erasure import ERASE_EVERY
from docuchat_common.exporting import Exporter
from docuchat_common.http.client import ServiceClient, open_http_client
from docuchat_common.http.health import Check
from docuchat_common.http.holds import HoldsClient
from docuchat_common.http.ledger import UsageLedger
from docuchat_common.http.quotes import QuotesClient
from docuchat_common.messaging.broker import Broker, Publisher
from docuchat_common.messaging.consumer import Consumer
from docuchat_common.messaging.dead_letters import DeadLetterOffice
from docuchat_common.messaging.relay import Relay
from docuchat_common.metering import Metering
from docuchat_common.redis import open_redis
from docuchat_common.retention import SWEEP_EVERY, Retention
from docuchat_common.user_events import UserEventWriter
from docuchat_ingest.adapters.chats import Chats
from docuchat_ingest.adapters.dead_letters import BrokerDeadLetters
from docuchat_ingest.adapters.exports import ServiceSource
from docuchat_ingest.adapters.metrics import PrometheusMeter
from docuchat_ingest.adapters.redis import RedisAnnouncer
from docuchat_ingest.adapters.usage import UsageQuota
from docuchat_ingest.adapters.work_folders import remove_orphans
from docuchat_ingest.chunking.chunker import Chunker
from docuchat_ingest.exports.service import Exports
from docuchat_ingest.handlers import subscriptions
from docuchat_ingest.jobs.leftovers import Leftovers
from docuchat_ingest.jobs.removals import Removals
from docuchat_ingest.jobs.service import Jobs
from docuchat_ingest.jobs.slots import Slots
from docuchat_ingest.jobs.sweeps import Sweeps
from docuchat_ingest.pipeline.domain import Limits
from docuchat_ingest.pipeline.service import WORK_FOLDER, Pipeline
from docuchat_ingest.reading.process.pool import ParserLimits, ParserPool
from docuchat_ingest.settings import Settings
from docuchat_ingest.tenant_erasure import delete_late_files, make_erasure
from docuchat_ingest.transaction import SCHEMA, PatientCommits, Transaction, compose
from docuchat_knowledge.exports.repository import FILES, ROWS
from docuchat_knowledge.jobs.claims import LOCK_CLASS
from docuchat_knowledge.vectors import register_vector
from docuchat_models.embeddings import Embedder
from docuchat_models.opening import find_space, open_embedder
from docuchat_models.prefixes import NO_PREFIXES
from docuchat_models.spaces import EmbeddingSpace
from docuchat_models.throttle import Account, RedisThrottle

logger = structlog.get_logger()

_KEPT_FROM_EXPORTS: Final = 512 * 2**20
"""Bytes of a local disk: archives find no room long before uploads do."""
_MINUTE = timedelta(minutes=1)
_KEEP_CALLS = timedelta(days=30)
_BOOKING_PATIENCE = timedelta(minutes=2)
"""Longer than any event can be on its way."""
_SPLITTER = "packed-3"
"""Names how texts are read and split: change it with either, so that no half-written document is continued in another
way.
"""


@dataclass(frozen=True, slots=True)
class Container:
    """What the process runs."""

    settings: Settings
    dead_letters: DeadLetterOffice
    checks: dict[str, Check]
    watched: dict[str, Check]
    background: frozenset[str]
    """The names of all work that goes on beside the documents."""


@asynccontextmanager
async def open_container(settings: Settings) -> AsyncIterator[Container]:
    """The running worker: consumer, relay and sweeps in the background of its small HTTP application."""
    await asyncio.to_thread(remove_orphans, WORK_FOLDER)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(_open_database(settings, "docuchat-ingest"))
        presence = await stack.enter_async_context(Presence.open(settings.system_database_url, LOCK_CLASS))
        broker = await stack.enter_async_context(Broker.connect(settings.rabbitmq_url, name="docuchat-ingest"))
        relay = Relay(database, SCHEMA, Publisher(broker), service="ingest")
        redis = await stack.enter_async_context(open_redis(settings.redis_url, client_name="docuchat-ingest"))
        session = await stack.enter_async_context(open_http_client())
        pool = await stack.enter_async_context(ParserPool(settings.ingest_concurrency, _parser_limits(settings)))
        blobs = Blobs(settings.blob_url)
        uow = UnitOfWork[Transaction](
            database, compose, schema=SCHEMA, service="ingest", on_events_committed=relay.wake
        )
        commit = PatientCommits(uow)
        metering = Metering(uow)
        usage = ServiceClient(session, settings.usage_url, "usage")
        internal_token = settings.internal_token.get_secret_value()
        quota, ledger = UsageQuota(HoldsClient(usage, internal_token)), UsageLedger(usage, internal_token)
        user_events = await stack.enter_async_context(UserEventWriter.open(redis))
        announcer, meter, office = (
            RedisAnnouncer(redis, user_events),
            PrometheusMeter(),
            DeadLetterOffice(broker, "ingest"),
        )
        dead_letters = BrokerDeadLetters(office)
        limits = _limits(settings)
        space = await find_space(settings)
        pipeline = Pipeline(
            commit=commit,
            blobs=blobs,
            reader=pool,
            chunker=cache(lambda: _make_chunker(settings)),
            embedder=_LazyEmbedder(settings, redis, stack),
            quota=quota,
            announcer=announcer,
            limits=limits,
            owner=str(presence.process_id),
        )
        jobs = Jobs(
            uow=uow,
            commit=commit,
            metering=metering,
            pipeline=pipeline,
            quota=quota,
            announcer=announcer,
            dead_letters=dead_letters,
            meter=meter,
            limits=limits,
            worker_id=presence.process_id,
            recipe=_recipe(settings, space),
        )
        sweeps = Sweeps(uow, blobs, announcer, dead_letters, meter, metering, limits.max_attempts)
        exports = Exports(
            uow,
            Blobs(settings.blob_url, reserve_bytes=_KEPT_FROM_EXPORTS),
            people=ServiceSource(session, settings.auth_url, "auth", internal_token),
            chats=ServiceSource(session, settings.chat_url, "chat", internal_token),
            others=[
                ServiceSource(session, settings.usage_url, "usage", internal_token),
                Exporter(uow, ROWS, FILES),
            ],
            lifetime=settings.export_lifetime,
            worker_id=presence.process_id,
        )
        chat = ServiceClient(session, settings.chat_url, "chat")
        quotes, chats = QuotesClient(chat, internal_token), Chats(chat, internal_token)
        leftovers = Leftovers(uow, announcer, chats.find_unused, chats.find_gone, SystemClock())
        removals = Removals(uow, announcer, quotes.forget, sweeps.count_blobs, sweeps.remove_blobs, exports.sweep)
        slots = Slots(jobs, settings.ingest_concurrency)
        erasure = make_erasure(uow, blobs, redis, office)
        retention = Retention(uow, SystemClock(), sweeps.delete_older)
        consumer = Consumer(
            broker,
            subscriptions(sweeps, removals, leftovers, exports, slots, erasure, retention, settings.ingest_concurrency),
        )
        background = await stack.enter_async_context(Background())
        await sweeps.tell_space(space)
        background.start("relay", relay.run)
        background.start("exports", exports.run)
        _start_sweeps(background, sweeps, leftovers, metering, ledger, settings)
        background.every("erasures", ERASE_EVERY, erasure.go_on)
        background.every("retention", SWEEP_EVERY, retention.sweep)
        background.every("late_files", timedelta(minutes=10), lambda: delete_late_files(uow, blobs))
        background.every("removals", _MINUTE, removals.sweep)
        background.every("expired_exports", _MINUTE, exports.sweep)
        stack.push_async_callback(metering.settle_late)
        consumer.start()
        stack.push_async_callback(_stop_working, consumer, slots, min(settings.ingest_drain, settings.shutdown_grace))
        looking = await stack.enter_async_context(Background())  # ends first: nothing new is begun while others drain
        looking.every("waiting", settings.ingest_poll, slots.look_around)
        yield Container(
            settings,
            office,
            {"postgres": database.check, "blobs": blobs.check},
            {"rabbitmq": consumer.check},  # documents are found without it
            background.names | looking.names,
        )


def _start_sweeps(
    background: Background,
    sweeps: Sweeps,
    leftovers: Leftovers,
    metering: Metering,
    ledger: UsageLedger,
    settings: Settings,
) -> None:
    background.every("attachments", timedelta(hours=1), lambda: leftovers.sweep(settings.unused_attachments_kept))
    background.every("chatbots", timedelta(minutes=5), leftovers.sweep_chatbots)
    background.every("exhausted", timedelta(seconds=5), sweeps.fail_exhausted)
    background.every("queue", timedelta(seconds=5), sweeps.measure_queue)
    background.every("tombstones", _MINUTE, lambda: sweeps.bury_tombstones(_MINUTE))
    background.every("abandoned_uploads", _MINUTE, lambda: sweeps.bury_abandoned(settings.upload_abandoned_after))
    background.every("provider_calls", timedelta(seconds=5), sweeps.take_over_calls)
    background.every("late_settlements", timedelta(seconds=1), metering.settle_late)
    background.every("compare_books", _MINUTE, lambda: metering.compare_books(ledger, _BOOKING_PATIENCE))
    background.every("old_provider_calls", timedelta(hours=1), lambda: metering.forget(_KEEP_CALLS))


async def _stop_working(consumer: Consumer, slots: Slots, drain: timedelta) -> None:
    await asyncio.gather(consumer.stop(drain), slots.stop(drain))


class _LazyEmbedder:
    """Opens the embedder when the first document needs it, once: an idle worker holds no model."""

    def __init__(self, settings: Settings, redis: Redis, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._redis = redis
        self._stack = stack
        self._lock = asyncio.Lock()
        self._embedder: Embedder | None = None

    async def __call__(self) -> Embedder:
        async with self._lock:
            if self._embedder is None:
                account = Account(self._settings.embedding_url, self._settings.embedding_key or "")
                throttle = RedisThrottle(self._redis, account, longest=self._settings.provider_longest_pause)
                self._embedder = await self._stack.enter_async_context(open_embedder(self._settings, throttle))
            return self._embedder


def _open_database(settings: Settings, name: str) -> Any:
    return Database.open(
        settings.database_url,
        settings.system_database_url,
        init=register_vector,
        application_name=name,
        max_size=max(settings.database_pool_size, 2 * settings.ingest_concurrency + 2),
        command_timeout=timedelta(seconds=30),  # a document is swapped in by one statement
    )


def _make_chunker(settings: Settings) -> Chunker:
    from docuchat_models.tokens import TokenCounter

    counter = TokenCounter.for_model(settings.embedding_model)
    return Chunker(counter.count, size=settings.chunk_token_size, overlap=settings.chunk_overlap)


def _recipe(settings: Settings, space: EmbeddingSpace) -> str:
    sizes = f"{settings.chunk_token_size}/{settings.chunk_overlap}"
    prefixes = f" {space.prefixes.query!r} {space.prefixes.passage!r}" if space.prefixes != NO_PREFIXES else ""
    return f"{_SPLITTER} {sizes} {space.provider} {space.model} {space.dimension}{prefixes}"


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_pages=settings.max_pdf_pages,
        max_bytes=settings.max_file_size_mb * 2**20,
        max_attempts=settings.ingest_max_attempts,
        embedding_batch=settings.embedding_batch_size,
        lease=settings.ingest_lease,
    )


def _parser_limits(settings: Settings) -> ParserLimits:
    return ParserLimits(
        max_pages=settings.max_pdf_pages,
        memory_megabytes=settings.parser_memory_mb,
        cpu_seconds=settings.parser_cpu.total_seconds(),
        wall_seconds=settings.parser_wall.total_seconds(),
        documents_per_process=settings.parser_documents,
    )
