"""The composition root."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import structlog

from docuchat_common.background import Background
from docuchat_common.blobs import Blobs
from docuchat_common.db.pool import Database
from docuchat_common.db.uow import UnitOfWork
from docuchat_common.http.client import ServiceClient, open_http_client
from docuchat_common.http.health import Check
from docuchat_common.http.holds import HoldsClient
from docuchat_common.http.identity import TokenVerifier
from docuchat_common.http.quotes import QuotesClient
from docuchat_common.http.refusals import Refusals
from docuchat_common.http.slots import OpenCounts, SharedSlots
from docuchat_common.idempotency import Idempotency
from docuchat_common.messaging.broker import Broker, Publisher
from docuchat_common.messaging.relay import Relay
from docuchat_common.rate_limits import RateLimiter
from docuchat_common.redis import check_redis, open_redis
from docuchat_common.user_events import UserEventWriter
from docuchat_gateway.adapters.api_keys import AuthKeyExchange
from docuchat_gateway.adapters.chatbots import ChatChatbots
from docuchat_gateway.adapters.good_keys import RedisGoodKeys
from docuchat_gateway.adapters.holdings import UsageHoldings
from docuchat_gateway.adapters.revisions import AuthRevisions
from docuchat_gateway.adapters.signals import RedisDocumentSignals, RedisUserEvents
from docuchat_gateway.adapters.tickets import RedisTickets
from docuchat_gateway.adapters.upstream import HttpUpstream
from docuchat_gateway.adapters.users import AuthUsers
from docuchat_gateway.collections.service import CollectionService
from docuchat_gateway.documents.errors import too_many_streams
from docuchat_gateway.documents.holdings import HoldingsComparison
from docuchat_gateway.documents.ports import Chatbots
from docuchat_gateway.documents.service import DocumentService
from docuchat_gateway.documents.upload_routes import present
from docuchat_gateway.documents.uploads import UploadService
from docuchat_gateway.edge.api_keys import ApiKeyIdentities
from docuchat_gateway.edge.limits import RequestLimits
from docuchat_gateway.edge.ports import Upstreams
from docuchat_gateway.edge.socket import too_many_sockets
from docuchat_gateway.edge.standing import Admission, Standing
from docuchat_gateway.events.ports import Tickets
from docuchat_gateway.events.routes import TICKET_SECONDS
from docuchat_gateway.events.service import EventService
from docuchat_gateway.exports.service import ExportService
from docuchat_gateway.operator.service import OperatorService
from docuchat_gateway.settings import Settings
from docuchat_gateway.transaction import GatewayTx, compose
from docuchat_gateway.widget.domain import Build
from docuchat_gateway.widget.ports import SeenChatbots
from docuchat_gateway.widget.service import UPKEEP, WidgetService

logger = structlog.get_logger()

IDEMPOTENCY_LEASE = timedelta(seconds=15)
"""How long the key of a killed upload is held."""


@dataclass(frozen=True)
class Container:
    """What the routes reach."""

    settings: Settings
    verifier: Admission
    limits: RequestLimits
    api_keys: ApiKeyIdentities
    upstreams: Upstreams
    sockets_of_user: OpenCounts
    sockets_of_address: OpenCounts
    progress_streams: OpenCounts
    event_streams: OpenCounts
    event_streams_of_address: OpenCounts
    events: EventService
    tickets: Tickets
    documents: DocumentService
    collections: CollectionService
    chatbots: Chatbots
    exports: ExportService
    widget: WidgetService
    seen_chatbots: SeenChatbots
    idempotency: Idempotency
    uploads: UploadService
    upload_slots: SharedSlots
    refusals: Refusals
    operator: OperatorService
    checks: dict[str, Check]
    watched: dict[str, Check]
    background: frozenset[str]
    """The names of all work that goes on beside the requests."""


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

        blobs = Blobs(settings.blob_url)
        signals = RedisDocumentSignals(client)
        limiter = await stack.enter_async_context(
            RateLimiter.open(client, name="gateway", fail_open=True, patience=settings.rate_limit_patience)
        )
        idempotency = Idempotency(uow, lease=IDEMPOTENCY_LEASE)
        internal_token = settings.internal_token.get_secret_value()
        chat = ServiceClient(session, settings.chat_url, "chat")
        quotes, chatbots = QuotesClient(chat, internal_token), ChatChatbots(chat, internal_token)
        # clients of their own: when revisions are late nothing else is refused for it
        revisions = AuthRevisions(ServiceClient(session, settings.auth_url, "auth"), internal_token)
        admission = Admission(verifier, Standing(revisions.list_after, settings.revisions_patience))
        # and when a comparison takes too long, uploads are not refused for it
        counted = UsageHoldings(ServiceClient(session, settings.usage_url, "usage"), internal_token)
        holdings = HoldingsComparison(uow.system, counted)
        upstreams = Upstreams(
            auth=HttpUpstream(session, settings.auth_url, "auth"),
            chat=HttpUpstream(session, settings.chat_url, "chat"),
            usage=HttpUpstream(session, settings.usage_url, "usage"),
        )
        widget = WidgetService(blobs, await asyncio.to_thread(_read_widget, settings.widget_file))
        background = await stack.enter_async_context(Background())
        background.start("outbox_relay", relay.run)
        background.every("idempotency_sweep", timedelta(hours=1), partial(_forget_keys, uow, settings.idempotency))
        background.every("holdings_comparison", settings.holdings_interval, holdings.compare)
        background.every("widget_upkeep", UPKEEP, widget.keep_up)
        background.start("document_signals", signals.run)
        background.every("standing", Standing.POLL, admission.standing.follow)
        await admission.standing.begin()
        for upstream in (upstreams.auth, upstreams.chat, upstreams.usage):
            background.every(f"{upstream.name}_watch", HttpUpstream.WATCH_EVERY, upstream.watch)

        checks: dict[str, Check] = {
            "postgres": database.check,
            "redis": partial(check_redis, client),
            "blobs": blobs.check,
            "auth": admission.check,
            "chat": upstreams.chat.check,
            "usage": upstreams.usage.check,
        }

        user_events = await stack.enter_async_context(UserEventWriter.open(client))
        documents = DocumentService(uow, blobs, signals, quotes, limiter, user_events)
        limits = RequestLimits(
            limiter, per_user=settings.rate_limit_per_minute, per_address=settings.rate_limit_per_address
        )
        auth = ServiceClient(session, settings.auth_url, "auth")
        keys = AuthKeyExchange(auth, internal_token)

        yield Container(
            settings=settings,
            verifier=admission,
            limits=limits,
            api_keys=ApiKeyIdentities(keys.exchange, admission, limits, RedisGoodKeys(client)),
            upstreams=upstreams,
            sockets_of_user=OpenCounts(settings.max_sockets_per_user, too_many_sockets("user")),
            sockets_of_address=OpenCounts(settings.max_sockets_per_address, too_many_sockets("address")),
            progress_streams=OpenCounts(settings.max_progress_streams, too_many_streams),
            event_streams=OpenCounts(settings.max_progress_streams, too_many_streams),
            event_streams_of_address=OpenCounts(settings.max_sockets_per_address, too_many_streams),
            events=EventService(RedisUserEvents(client, signals), documents),
            tickets=RedisTickets(client, seconds=TICKET_SECONDS),
            documents=documents,
            collections=CollectionService(uow, documents, chatbots),
            chatbots=chatbots,
            exports=ExportService(uow, blobs, AuthUsers(auth, internal_token).has, limiter),
            widget=widget,
            seen_chatbots=chatbots,
            idempotency=idempotency,
            uploads=UploadService(
                uow,
                blobs,
                idempotency,
                HoldsClient(ServiceClient(session, settings.usage_url, "usage"), internal_token),
                present,
                user_events,
                hold_lease=settings.upload_timeout + timedelta(minutes=1),
            ),
            upload_slots=SharedSlots(settings.max_parallel_uploads),
            refusals=Refusals(uow),
            operator=OperatorService(
                uow.system,
                client,
                {
                    service: ServiceClient(session, url, name)
                    for service, name, url in (
                        ("auth", "auth", settings.auth_url),
                        ("chat", "chat", settings.chat_url),
                        ("usage", "usage", settings.usage_url),
                        ("ingest", "ingest-worker", settings.ingest_url),
                    )
                },
                checks,
                internal_token,
                recount=holdings.compare,
                with_dead_letters=frozenset({"auth", "chat", "usage", "ingest"}),
            ),
            checks=checks,
            watched={"rabbitmq": broker.check},
            background=background.names,
        )


async def _forget_keys(uow: UnitOfWork[GatewayTx], older_than: timedelta) -> None:
    async with uow.system() as tx:
        await tx.requests.forget(older_than)


def _read_widget(file: Path | None) -> Build | None:
    """The build of this installation; None, and a line in the log, where there is none."""
    try:
        return None if file is None else Build.of(file.read_bytes())
    except (OSError, ValueError) as error:
        logger.warning("widget.not_built", reason=str(error))
        return None
