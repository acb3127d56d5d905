"""The composition root: the only place that names concrete adapters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import redis.asyncio as redis

from docuchat_chat.adapters.knowledge import Counters, KnowledgeEmbedder
from docuchat_chat.adapters.redis_board import RedisTurnBoard
from docuchat_chat.adapters.usage_holds import UsageHolds
from docuchat_chat.answers import extractive
from docuchat_chat.answers.extractive_model import ExtractiveModel
from docuchat_chat.answers.ports import AnswerModel
from docuchat_chat.answers.service import SearchService
from docuchat_chat.conversations.service import ConversationService
from docuchat_chat.settings import Settings
from docuchat_chat.transaction import composer
from docuchat_chat.turns.generation import Generator
from docuchat_chat.turns.live import Registry
from docuchat_chat.turns.preparation import AskService
from docuchat_chat.turns.recovery import Recovery
from docuchat_chat.turns.replay import ReplayService
from docuchat_chat.turns.routes import Turns
from docuchat_common.db import Database, UnitOfWork
from docuchat_common.http.client import ServiceClient, open_http_client
from docuchat_common.http.health import Check
from docuchat_common.http.identity import TokenVerifier
from docuchat_common.ids import uuid7
from docuchat_common.messaging.broker import Broker, Publisher
from docuchat_common.messaging.relay import Relay
from docuchat_knowledge.vectors import register_vector
from docuchat_models.embeddings import Embedder
from docuchat_models.opening import open_embedder
from docuchat_models.wordllama import WordLlamaEmbedder


@dataclass(frozen=True, slots=True)
class Container:
    """What routes reach of a running service: use cases, no adapters."""

    settings: Settings
    verifier: TokenVerifier
    search: SearchService
    conversations: ConversationService
    turns: Turns
    checks: Mapping[str, Check]


@asynccontextmanager
async def open_container(settings: Settings) -> AsyncIterator[Container]:
    """Open everything the service needs; leaving drains running answers first, then closes in reverse order."""
    policy = settings.policy()
    owner = str(uuid7())
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
        broker = await stack.enter_async_context(Broker.connect(settings.rabbitmq_url, name="docuchat-chat"))
        relay = Relay(database, "chat", Publisher(broker))
        verifier = await stack.enter_async_context(TokenVerifier.open(settings))
        session = await stack.enter_async_context(open_http_client())
        store = redis.Redis.from_url(
            settings.redis_url, protocol=2, socket_connect_timeout=1, socket_timeout=40, health_check_interval=30
        )
        stack.push_async_callback(store.aclose)
        board = RedisTurnBoard(store, life=timedelta(seconds=settings.turn_stream_seconds))
        embedder = await stack.enter_async_context(open_embedder(settings))
        model = await _open_model(stack, settings, embedder)
        counters = Counters({extractive.MODEL: embedder} if isinstance(embedder, WordLlamaEmbedder) else None)
        await asyncio.to_thread(counters(policy.default_model).count, "warm")
        transactions = UnitOfWork(database, composer(embedder.space), schema="chat", on_events_committed=relay.wake)
        registry = Registry({})
        holds = UsageHolds(
            ServiceClient(session, settings.usage_url, "usage"),
            settings.internal_token.get_secret_value(),
            timedelta(seconds=settings.hold_lease_seconds),
            model.provider,
        )
        questions = KnowledgeEmbedder(embedder, billable=settings.embeds_with_openai)
        generator = Generator(
            transactions=transactions,
            model=model,
            holds=holds,
            board=board,
            counter_for=counters,
            registry=registry,
            policy=policy,
            owner=owner,
        )
        replay = ReplayService(transactions, board, registry)
        recovery = Recovery(
            transactions=transactions, board=board, counter_for=counters, registry=registry, policy=policy, owner=owner
        )
        for work in (relay.run(), board.run(), board.listen_for_stops(registry.stop), recovery.run()):
            await _in_background(stack, work)
        # The last frames must reach the board after the last answers ended.
        stack.push_async_callback(_copy_last, board)
        stack.push_async_callback(generator.drain)
        yield Container(
            settings=settings,
            verifier=verifier,
            search=SearchService(transactions, questions),
            turns=Turns(
                asking=AskService(
                    transactions=transactions,
                    holds=holds,
                    embedder=questions,
                    generator=generator,
                    registry=registry,
                    counter_for=counters,
                    policy=policy,
                    owner=owner,
                ),
                replay=replay,
                client_stall=timedelta(seconds=settings.client_stall_seconds),
            ),
            conversations=ConversationService(transactions, replay, max_message_chars=settings.max_message_chars),
            checks={"database": database.check, "redis": board.check, "rabbitmq": broker.check},
        )


async def _open_model(stack: AsyncExitStack, settings: Settings, embedder: Embedder) -> AnswerModel:
    if not settings.answers_with_openai or settings.openai_api_key is None:
        return ExtractiveModel(embedder)
    # Only here: the SDK is 25 MB of classes that a product without a key never needs.
    from docuchat_chat.adapters.openai_model import OpenAIModel
    from docuchat_models.openai_chat import OpenAIChat

    chat = await stack.enter_async_context(
        OpenAIChat.open(
            api_key=settings.openai_api_key.get_secret_value(),
            base_url=settings.openai_base_url,
            connect_seconds=settings.provider_connect_seconds,
            read_seconds=max(settings.provider_first_token_seconds, settings.provider_between_tokens_seconds) + 5,
        )
    )
    return OpenAIModel(chat)


async def _copy_last(board: RedisTurnBoard) -> None:
    with suppress(redis.RedisError):
        await board.copy()


async def _in_background(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)

    async def stop() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(stop)
