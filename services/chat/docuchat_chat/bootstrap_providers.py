"""The part of the composition root that is about providers of models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from importlib import import_module

import structlog
from redis.asyncio import Redis

from docuchat_chat.adapters.provider_clients import IDLE, ProviderClients
from docuchat_chat.adapters.provider_health import RedisWatch
from docuchat_chat.adapters.usage_prices import UsagePrices
from docuchat_chat.answers import extractive
from docuchat_chat.answers.environment import EnvironmentModels
from docuchat_chat.answers.extractive_model import ExtractiveModel
from docuchat_chat.answers.ports import AnswerModels
from docuchat_chat.providers.catalogue import Catalogue
from docuchat_chat.providers.domain import Provider, environments
from docuchat_chat.providers.models import ForEverybody, ProvidedModels, WatchedModel
from docuchat_chat.providers.ports import OpenedProvider
from docuchat_chat.providers.probing import EVERY, Probing
from docuchat_chat.providers.sealing import SealedKeys
from docuchat_chat.providers.service import ProviderService
from docuchat_chat.providers.upkeep import EVERY as MENDED_EVERY
from docuchat_chat.providers.upkeep import Upkeep
from docuchat_chat.settings import Settings
from docuchat_chat.transaction import ChatTx
from docuchat_common.background import Background
from docuchat_common.clock import SystemClock
from docuchat_common.db import UnitOfWork
from docuchat_common.http.client import ServiceClient
from docuchat_common.http.health import Check
from docuchat_models.embeddings import Embedder
from docuchat_models.errors import ProviderRefused
from docuchat_models.providers import provider_name
from docuchat_models.wordllama import WordLlamaEmbedder

logger = structlog.get_logger()


async def open_providers(
    stack: AsyncExitStack,
    settings: Settings,
    transactions: UnitOfWork[ChatTx],
    redis: Redis,
    embedder: Embedder,
    usage: ServiceClient,
) -> tuple[ProvidedModels, ProviderService]:
    """Return every model that may be asked, those of the environment among them, and what is done with providers."""
    internal_token = settings.internal_token.get_secret_value()
    token_before = settings.internal_token_before and settings.internal_token_before.get_secret_value()
    keys, prices = SealedKeys(internal_token, token_before or None), UsagePrices(usage, internal_token)
    upkeep = Upkeep(transactions, prices, keys)
    policy = settings.egress_policy()
    patience = max(settings.provider_first_token_timeout, settings.provider_between_tokens_timeout)

    @asynccontextmanager
    async def open_one(provider: Provider) -> AsyncIterator[OpenedProvider]:
        # Only here: the SDK is 25 MB of classes, and a second to read, that a product without providers never needs.
        await asyncio.to_thread(import_module, "docuchat_chat.adapters.openai_model")
        from docuchat_chat.adapters.openai_model import open_provider

        key = None
        if provider.sealed_key is not None:
            key = keys.open(provider.sealed_key, provider.tenant_id, provider.id)
            if key is None:
                logger.error("provider.key_unreadable", provider_id=str(provider.id))
                raise ProviderRefused("The provider's key cannot be read any more; send its `api_key` again.")
        async with open_provider(
            provider,
            key,
            read=patience + timedelta(seconds=5),
            connect=settings.provider_connect_timeout,
            longest_pause=settings.provider_longest_pause,
            egress=policy,
        ) as opened:
            yield opened

    own = await _open_environment(stack, settings)
    clients = ProviderClients(open_one, kept={} if own is None else {own[0].id: own[1]})
    stack.push_async_callback(clients.close)
    watch, catalogue = RedisWatch(redis), Catalogue(transactions)
    background = await stack.enter_async_context(Background())
    background.every("provider_health", timedelta(seconds=1), watch.share)
    probing = Probing(transactions, clients, watch, SystemClock(), environment=own and own[0])
    background.every("provider_probes", EVERY, probing.sweep)
    background.every("provider_prices", MENDED_EVERY, upkeep.tell_prices)
    if token_before:
        background.every("provider_keys", timedelta(hours=1), upkeep.seal_anew)
    background.every("unused_provider_clients", IDLE / 5, clients.sweep)
    models = ProvidedModels(
        await _environment(settings, embedder, own and own[0], clients, watch),
        settings.models(),
        catalogue,
        clients,
        watch,
    )
    return models, ProviderService(
        transactions, keys, policy, catalogue, clients, watch, prices, upkeep, environment=own and own[0]
    )


async def _open_environment(stack: AsyncExitStack, settings: Settings) -> tuple[Provider, OpenedProvider] | None:
    """Open the client of the environment's provider, which stays open; None where documents are quoted."""
    if not settings.answers_with_openai or settings.openai_api_key is None:
        return None
    await asyncio.to_thread(import_module, "docuchat_chat.adapters.openai_model")
    from docuchat_chat.adapters.openai_model import open_provider

    url = settings.openai_base_url
    provider = environments(url, provider_name(url), settings.models())
    patience = max(settings.provider_first_token_timeout, settings.provider_between_tokens_timeout)
    opened = await stack.enter_async_context(
        open_provider(
            provider,
            settings.openai_api_key.get_secret_value(),
            read=patience + timedelta(seconds=5),
            connect=settings.provider_connect_timeout,
            longest_pause=settings.provider_longest_pause,
            egress=settings.egress_policy(),
        )
    )
    return provider, opened


async def _environment(
    settings: Settings, embedder: Embedder, provider: Provider | None, clients: ProviderClients, watch: RedisWatch
) -> AnswerModels:
    if provider is None:
        # A provider that only embeds is paid for each text: sentences are compared by what costs nothing.
        own = embedder if isinstance(embedder, WordLlamaEmbedder) else await asyncio.to_thread(WordLlamaEmbedder)
        return EnvironmentModels(ExtractiveModel(own), extractive.PROVIDER, settings.models())
    return EnvironmentModels(
        WatchedModel(provider, clients, watch),
        provider.name,
        settings.models(),
        is_down=lambda: watch.of(provider.id).state == "down",
    )


def standby_checks(settings: Settings, models: AnswerModels) -> dict[str, Check]:
    """Return what tells in health and log that FALLBACK_MODEL names nothing; nothing fails for it."""
    name = settings.fallback_model
    return {"fallback_model": ForEverybody(models, "FALLBACK_MODEL", name).check} if name else {}
