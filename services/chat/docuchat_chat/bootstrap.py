"""The composition root: the only place that names concrete adapters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta

from aiohttp import ClientSession
from redis.asyncio import Redis

from docuchat_chat.adapters.auth import ChatbotCredentials
from docuchat_chat.adapters.knowledge import Counters, KnowledgeEmbedder
from docuchat_chat.adapters.redis_board import RedisTurnBoard, stream_key
from docuchat_chat.adapters.redis_calls import RedisCalls, calls_key
from docuchat_chat.adapters.spool import FileSpool, SpoolFolder
from docuchat_chat.adapters.usage import UsageHolds
from docuchat_chat.answers import extractive
from docuchat_chat.answers.ports import AnswerModels
from docuchat_chat.answers.service import Retrieval, SearchService
from docuchat_chat.attachments.service import AttachmentService
from docuchat_chat.bootstrap_providers import open_providers, standby_checks
from docuchat_chat.chatbots.service import ChatbotService
from docuchat_chat.chatbots.upkeep import ChatbotUpkeep
from docuchat_chat.chatbots.versions import Versions
from docuchat_chat.container import Container
from docuchat_chat.conversations.orphans import Orphans
from docuchat_chat.conversations.ports import RunningTurns
from docuchat_chat.conversations.removals import Removals
from docuchat_chat.conversations.service import ConversationService
from docuchat_chat.feedback.service import FeedbackService
from docuchat_chat.handlers import subscriptions
from docuchat_chat.insights.service import InsightService
from docuchat_chat.mcp.asking import Asking
from docuchat_chat.mcp.server import McpServer
from docuchat_chat.mcp.tools import Toolbox
from docuchat_chat.openai_api.embeddings import Embeddings
from docuchat_chat.openai_api.responses_service import Responses
from docuchat_chat.openai_api.routes import OpenAI
from docuchat_chat.openai_api.service import Models
from docuchat_chat.presence.domain import SILENCE
from docuchat_chat.presence.service import PresenceService
from docuchat_chat.settings import Settings
from docuchat_chat.sharing.service import SharingService
from docuchat_chat.tenant_erasure import make_erasure
from docuchat_chat.titles.service import Titles
from docuchat_chat.transaction import ChatTx, composer
from docuchat_chat.transcripts.service import TranscriptService
from docuchat_chat.turns.asking import AskService
from docuchat_chat.turns.generation import Generator
from docuchat_chat.turns.live import Registry
from docuchat_chat.turns.policy import Policy
from docuchat_chat.turns.recovery import Recovery
from docuchat_chat.turns.replay import ReplayService
from docuchat_chat.turns.repository import LOCK_CLASS
from docuchat_chat.turns.responding import Turns
from docuchat_chat.turns.rewriting import Rewriter
from docuchat_chat.turns.upkeep import Upkeep
from docuchat_chat.turns.visitors import ADDRESS_LIMIT, Visitors
from docuchat_common.background import Background
from docuchat_common.clock import Clock, SystemClock
from docuchat_common.contracts.holds import HoldKind, HoldUnit
from docuchat_common.db import Database, UnitOfWork
from docuchat_common.db.presence import Presence
from docuchat_common.db.queries import load_queries
from docuchat_common.erasure import ERASE_EVERY, TenantErasure
from docuchat_common.exporting import Exporter
from docuchat_common.http.client import ServiceClient, open_http_client
from docuchat_common.http.holds import HoldsClient
from docuchat_common.http.identity import TokenVerifier
from docuchat_common.http.ledger import UsageLedger
from docuchat_common.http.refusals import Refusals
from docuchat_common.idempotency import Idempotency
from docuchat_common.ids import TenantId
from docuchat_common.messaging.broker import Broker, Publisher
from docuchat_common.messaging.consumer import Consumer
from docuchat_common.messaging.dead_letters import DeadLetterOffice
from docuchat_common.messaging.relay import Relay
from docuchat_common.metering import Metering
from docuchat_common.rate_limits import RateLimiter
from docuchat_common.redis import REDIS_TROUBLE, open_redis
from docuchat_common.retention import SWEEP_EVERY, Retention
from docuchat_common.sealing import SealedAnswers, derive_key
from docuchat_common.user_events import UserEventWriter
from docuchat_common.user_events import stream_key as events_key
from docuchat_knowledge.vectors import register_vector
from docuchat_models.embeddings import Embedder
from docuchat_models.opening import open_embedder
from docuchat_models.tokens import TokenCounter
from docuchat_models.wordllama import WordLlamaEmbedder

EXPORTED = ("providers", "chatbots", "chatbot_versions", "chats", "messages", "feedback", "shares", "chat_sessions")
_FOLLOWERS = 4_000
"""Readers of other processes' turns that may wait in Redis at once, each on a connection of its own."""


@asynccontextmanager
async def open_container(settings: Settings) -> AsyncIterator[Container]:
    """Open everything the service needs; leaving drains running answers first, then closes in reverse order."""
    policy, clock = settings.policy(), SystemClock()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database.open(
                settings.database_url,
                settings.system_database_url,
                init=register_vector,
                application_name="docuchat-chat",
                max_size=settings.database_pool_size,
            )
        )
        presence = await stack.enter_async_context(Presence.open(settings.database_url, LOCK_CLASS))
        owner = str(presence.process_id)
        broker = await stack.enter_async_context(Broker.connect(settings.rabbitmq_url, name="docuchat-chat"))
        relay = Relay(database, "chat", Publisher(broker))
        verifier = await stack.enter_async_context(TokenVerifier.open(settings))
        session = await stack.enter_async_context(open_http_client())
        redis = await stack.enter_async_context(open_redis(settings.redis_url, client_name="docuchat-chat"))
        limiter = await stack.enter_async_context(
            RateLimiter.open(redis, name="chat", fail_open=True, patience=settings.rate_limit_patience)
        )
        board = RedisTurnBoard(
            redis,
            await stack.enter_async_context(
                open_redis(
                    settings.redis_url,
                    client_name="docuchat-chat-followers",
                    timeout=timedelta(seconds=40),
                    max_connections=_FOLLOWERS,
                )
            ),
            life=settings.turn_stream_life,
        )
        spool = FileSpool(settings.spool_dir, owner)
        stack.callback(spool.close)
        embedder = await stack.enter_async_context(open_embedder(settings, timeout=settings.question_embedding_timeout))
        counter_for = Counters({extractive.MODEL: embedder} if isinstance(embedder, WordLlamaEmbedder) else None)
        await asyncio.to_thread(counter_for(policy.default_model).count, "warm")

        transactions = UnitOfWork(database, composer(embedder.space), schema="chat", on_events_committed=relay.wake)
        metering = Metering(transactions)
        registry = Registry(user_events=await stack.enter_async_context(UserEventWriter.open(redis)))
        usage = ServiceClient(session, settings.usage_url, "usage")
        models, providers = await open_providers(stack, settings, transactions, redis, embedder, usage)
        internal_token = settings.internal_token.get_secret_value()
        holds_client, lease = HoldsClient(usage, internal_token), settings.hold_lease
        holds = UsageHolds(holds_client, HoldKind.CHAT, lease, counts=HoldUnit.MESSAGES)
        embedding_holds = UsageHolds(holds_client, HoldKind.EMBEDDING, lease)
        retrieval = Retrieval(
            transactions, KnowledgeEmbedder(embedder, billable=settings.embeds_with_openai), metering, owner
        )
        generator = Generator(
            transactions=transactions,
            holds=holds,
            board=board,
            spool=spool,
            counter_for=counter_for,
            registry=registry,
            policy=policy,
            owner=owner,
            clock=clock,
            second_holds=UsageHolds(holds_client, HoldKind.CHAT, lease),
            titles=_open_titles(stack, settings, transactions, holds_client, metering, counter_for, registry, owner),
        )
        asking = AskService(
            transactions=transactions,
            models=models,
            holds=holds,
            retrieval=retrieval,
            generator=generator,
            registry=registry,
            counter_for=counter_for,
            policy=policy,
            chatbots=Versions(transactions),
            visitors=Visitors(
                limiter, settings.demo(), settings.questions_per_address, derive_key(internal_token, "addresses")
            ),
            owner=owner,
            clock=clock,
            rewriter=Rewriter(metering=metering, counter_for=counter_for, policy=policy, owner=owner)
            if settings.question_rewriting and settings.answers_with_openai
            else None,
        )
        recovery = Recovery(
            transactions=transactions,
            board=board,
            spool=spool,
            spools=SpoolFolder(settings.spool_dir),
            holds=holds,
            counter_for=counter_for,
            registry=registry,
            owner=owner,
            clock=clock,
        )
        replay = ReplayService(transactions, board, registry)
        dead_letters = DeadLetterOffice(broker, "chat")
        erasure = make_erasure(transactions, replay, redis, dead_letters, _keys_of)

        background = await stack.enter_async_context(Background())
        background.start("relay", relay.run)
        background.start("board", board.run)
        background.start("stops", lambda: board.listen_for_stops(registry.stop))
        removals = Removals(transactions, replay)
        conversations = ConversationService(transactions, replay, limiter, max_message_chars=settings.max_message_chars)
        retention = Retention(transactions, clock, conversations.delete_unused)
        upkeep = Upkeep(transactions, metering, UsageLedger(usage, internal_token), board, policy)
        _start_sweeps(background, policy, recovery, metering, upkeep, erasure, removals, retention)
        consumer = Consumer(broker, subscriptions(transactions, erasure, retention, removals))
        consumer.start()
        search, turns = SearchService(retrieval, embedding_holds, embedder.space), Turns(asking, replay)
        refusals = Refusals(transactions)
        mcp = await _open_mcp(stack, settings, redis, transactions, search, turns, refusals)
        _close_in_order(stack, consumer, metering, board, generator)
        yield Container(
            settings=settings,
            verifier=verifier,
            search=search,
            attachments=AttachmentService(transactions),
            conversations=conversations,
            feedback=FeedbackService(transactions),
            transcripts=TranscriptService(transactions),
            sharing=_open_sharing(transactions, background),
            presence=_open_presence(transactions, background),
            chatbots=_open_chatbots(settings, transactions, models, replay, session, background, clock),
            insights=InsightService(transactions, clock),
            providers=providers,
            openai=OpenAI(
                Models(transactions, models, embedder.space, most_chatbots=settings.max_chatbots),
                settings.max_message_chars,
            ),
            embeddings=Embeddings(
                embedder,
                _counter_of(embedder).count,
                UsageHolds(holds_client, HoldKind.EMBEDDING, lease, counts=HoldUnit.REQUESTS),
                metering,
                owner,
            ),
            turns=turns,
            mcp=mcp,
            responses=Responses(transactions, replay, conversations),
            idempotency=Idempotency(transactions),
            sealed_answers=SealedAnswers(internal_token),
            exporter=Exporter(transactions, load_queries("docuchat_chat.conversations", "exports.sql"), EXPORTED),
            refusals=refusals,
            background=background,
            dead_letters=dead_letters,
            checks={"postgres": database.check, "auth": verifier.check, "usage": usage.check},
            watched={
                "rabbitmq": broker.check,
                "redis": board.check,
                "spool": spool.check,
                **standby_checks(settings, models),
            },
        )


def _counter_of(embedder: Embedder) -> WordLlamaEmbedder | TokenCounter:
    return embedder if isinstance(embedder, WordLlamaEmbedder) else TokenCounter.for_model(embedder.space.model)


def _open_chatbots(
    settings: Settings,
    transactions: UnitOfWork[ChatTx],
    models: AnswerModels,
    running: RunningTurns,
    session: ClientSession,
    background: Background,
    clock: Clock,
) -> ChatbotService:
    auth = ServiceClient(session, settings.auth_url, "auth")
    credentials = ChatbotCredentials(auth, settings.internal_token.get_secret_value())
    background.every("chatbots", timedelta(seconds=30), ChatbotUpkeep(transactions, credentials).sweep)
    background.every("chats_of_chatbots", timedelta(seconds=5), Orphans(transactions, running).sweep)
    return ChatbotService(transactions, credentials, clock, models=models, most=settings.max_chatbots)


def _open_titles(
    stack: AsyncExitStack,
    settings: Settings,
    transactions: UnitOfWork[ChatTx],
    holds_client: HoldsClient,
    metering: Metering,
    counter_for: Counters,
    registry: Registry,
    owner: str,
) -> Titles | None:
    if not (settings.chat_titles and settings.answers_with_openai):
        return None
    titles = Titles(
        transactions=transactions,
        holds=UsageHolds(holds_client, HoldKind.CHAT, settings.hold_lease),
        metering=metering,
        counter_for=counter_for,
        owner=owner,
        on_titled=registry.titled,
    )
    stack.push_async_callback(titles.close)
    return titles


async def _open_mcp(
    stack: AsyncExitStack,
    settings: Settings,
    redis: Redis,
    transactions: UnitOfWork[ChatTx],
    search: SearchService,
    turns: Turns,
    refusals: Refusals,
) -> McpServer:
    calls = Asking(turns, RedisCalls(redis, life=settings.turn_stream_life))
    tools = Toolbox(search, calls, transactions)
    return await stack.enter_async_context(McpServer.open(tools, calls, refusals))


def _close_in_order(
    stack: AsyncExitStack, consumer: Consumer, metering: Metering, board: RedisTurnBoard, generator: Generator
) -> None:
    """The last is done first."""
    stack.push_async_callback(consumer.stop, timedelta(seconds=2))
    stack.push_async_callback(metering.settle_late)
    # The last words must reach the board after the last answers ended.
    stack.push_async_callback(_copy_last, board)
    stack.push_async_callback(generator.drain)


def _open_sharing(transactions: UnitOfWork[ChatTx], background: Background) -> SharingService:
    sharing = SharingService(transactions)
    background.every("expired_shares", SWEEP_EVERY, sharing.sweep)
    return sharing


def _open_presence(transactions: UnitOfWork[ChatTx], background: Background) -> PresenceService:
    presence = PresenceService(transactions)
    background.every("ended_sessions", SILENCE, presence.sweep)
    return presence


def _start_sweeps(
    background: Background,
    policy: Policy,
    recovery: Recovery,
    metering: Metering,
    upkeep: Upkeep,
    erasure: TenantErasure,
    removals: Removals,
    retention: Retention,
) -> None:
    background.every("recovery", policy.sweep, recovery.sweep)
    background.every("late_settlements", timedelta(seconds=1), metering.settle_late)
    background.every("take_over", timedelta(seconds=5), lambda: metering.take_over(recovery.is_alive))
    background.every("compare_books", policy.booking_patience / 2, upkeep.compare_books)
    background.every("purge", timedelta(minutes=1), upkeep.purge)
    background.every("not_kept", policy.booking_patience / 4, upkeep.purge_not_kept)
    background.every("erasures", ERASE_EVERY, erasure.go_on)
    background.every("removals", timedelta(minutes=1), removals.sweep)
    background.every("retention", SWEEP_EVERY, retention.sweep)
    background.every("forget_calls", timedelta(hours=1), lambda: metering.forget(policy.turn_life))


def _keys_of(tenant_id: TenantId) -> tuple[str, ...]:
    names = f"chat:messages:*:{tenant_id}:*", f"chat:{ADDRESS_LIMIT}:*:{tenant_id}:*"
    return stream_key(tenant_id, "*"), events_key(f"{tenant_id}:*"), calls_key(tenant_id), *names


async def _copy_last(board: RedisTurnBoard) -> None:
    with suppress(*REDIS_TROUBLE):
        await board.copy()
