"""The composition root."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from weakref import WeakValueDictionary

from docuchat_common.background import Background
from docuchat_common.db.pool import Database
from docuchat_common.db.uow import UnitOfWork
from docuchat_common.http.client import open_http_client
from docuchat_common.http.health import Check
from docuchat_common.http.identity import TokenVerifier
from docuchat_common.messaging.broker import Broker, Publisher
from docuchat_common.messaging.relay import Relay
from docuchat_common.redis import check_redis, open_redis
from docuchat_gateway.adapters.blobs import ObstoreBlobs
from docuchat_gateway.adapters.idempotency import RedisIdempotencyKeys
from docuchat_gateway.adapters.rate_limit import RedisRateLimiter
from docuchat_gateway.adapters.signals import RedisDocumentSignals
from docuchat_gateway.adapters.upstream import HttpUpstream
from docuchat_gateway.documents.service import DocumentService
from docuchat_gateway.documents.uploads import UploadService, sweep_arrivals
from docuchat_gateway.edge.ports import RateLimiter, Upstreams
from docuchat_gateway.edge.socket import OpenSockets
from docuchat_gateway.settings import Settings
from docuchat_gateway.transaction import compose

SWEEP_EVERY = timedelta(minutes=10)
ARRIVALS_LIVE = timedelta(hours=1)
"""Much longer than an upload may take."""


@dataclass(frozen=True)
class Container:
    """What the routes reach."""

    settings: Settings
    verifier: TokenVerifier
    limiter: RateLimiter
    upstreams: Upstreams
    sockets: OpenSockets
    documents: DocumentService
    uploads: UploadService
    upload_slots: asyncio.Semaphore
    checks: dict[str, Check]
    user_upload_slots: WeakValueDictionary[str, asyncio.Semaphore] = field(default_factory=WeakValueDictionary)
    """A part of the slots for each user, so that nobody's slow uploads keep all others out."""


@asynccontextmanager
async def open_container(settings: Settings) -> AsyncIterator[Container]:
    """Everything the gateway needs, opened in order and closed in reverse."""
    async with AsyncExitStack() as stack:
        verifier = await stack.enter_async_context(TokenVerifier.open(settings))
        session = await stack.enter_async_context(open_http_client())
        client = await stack.enter_async_context(open_redis(settings.redis_url, client_name="gateway"))
        database = await stack.enter_async_context(
            Database.open(
                settings.database_url,
                settings.system_database_url,
                application_name="docuchat-gateway",
                max_size=settings.database_pool_size,
                command_timeout=timedelta(seconds=12),  # a document is deleted with all its chunks
            )
        )
        broker = await stack.enter_async_context(Broker.connect(settings.rabbitmq_url, name="gateway"))
        relay = Relay(database, "knowledge", Publisher(broker), service="gateway")
        uow = UnitOfWork(database, compose, schema="knowledge", service="gateway", on_events_committed=relay.wake)

        blobs = ObstoreBlobs(settings.blob_url)
        signals = RedisDocumentSignals(client)
        limiter = RedisRateLimiter(
            client,
            per_user=settings.rate_limit_per_minute,
            per_address=settings.rate_limit_per_address,
            window=timedelta(minutes=1),
        )
        await limiter.open()
        stack.push_async_callback(limiter.close)
        keys = RedisIdempotencyKeys(
            client, lease=timedelta(seconds=15), keep=timedelta(hours=settings.idempotency_hours)
        )
        upstreams = Upstreams(
            auth=HttpUpstream(session, settings.auth_url, "auth"),
            chat=HttpUpstream(session, settings.chat_url, "chat"),
            usage=HttpUpstream(session, settings.usage_url, "usage"),
        )
        background = await stack.enter_async_context(Background())
        background.start("outbox_relay", relay.run)
        background.start("document_signals", signals.run)
        background.every("arrivals_sweep", SWEEP_EVERY, partial(sweep_arrivals, blobs, older_than=ARRIVALS_LIVE))
        for upstream in (upstreams.auth, upstreams.chat, upstreams.usage):
            background.every(f"{upstream.name}_watch", HttpUpstream.WATCH_EVERY, upstream.watch)

        yield Container(
            settings=settings,
            verifier=verifier,
            limiter=limiter,
            upstreams=upstreams,
            sockets=OpenSockets(per_user=settings.max_sockets_per_user, per_address=settings.max_sockets_per_address),
            documents=DocumentService(uow, blobs, signals),
            uploads=UploadService(uow, blobs, keys, max_file_bytes=settings.max_file_bytes),
            upload_slots=asyncio.Semaphore(settings.max_parallel_uploads),
            checks={
                "postgres": database.check,
                "redis": partial(check_redis, client),
                "blobs": blobs.check,
                "auth": verifier.check,
                "chat": upstreams.chat.check,
                "usage": upstreams.usage.check,
            },
        )
