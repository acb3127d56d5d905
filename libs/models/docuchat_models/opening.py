"""The embedder that the settings ask for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from docuchat_models.embeddings import Embedder
from docuchat_models.openai_embeddings import OpenAIEmbedder
from docuchat_models.providers import provider_name
from docuchat_models.settings import EmbeddingSettings
from docuchat_models.spaces import EmbeddingSpace
from docuchat_models.throttle import NoThrottle, Throttle
from docuchat_models.wordllama import WordLlamaEmbedder

if TYPE_CHECKING:
    from openai import AsyncOpenAI

KNOWN_DIMENSIONS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
    "nomic-ai/nomic-embed-text-v1.5": 768,
    "nomic-embed-text": 768,
    "mxbai-embed-large": 1024,
    "intfloat/multilingual-e5-large": 1024,
    "BAAI/bge-m3": 1024,
    "BAAI/bge-small-en-v1.5": 384,
}
"""Native dimensions, from the models' cards; others are asked by one embedding at set-up."""
SHORTENABLE = frozenset(("text-embedding-3-small", "text-embedding-3-large"))
"""Models that are sent the `dimensions` parameter."""


@asynccontextmanager
async def open_embedder(settings: EmbeddingSettings, throttle: Throttle | None = None) -> AsyncIterator[Embedder]:
    """The embedder that the settings ask for: the provider's with an OPENAI_API_KEY, WordLlama without."""
    if not settings.embeds_with_openai:
        yield await asyncio.to_thread(WordLlamaEmbedder)
        return
    async with _open_client(settings) as client:
        dimension = await _find_dimension(client, settings)
        space = EmbeddingSpace(provider_name(settings.openai_base_url), settings.embedding_model, dimension)
        yield OpenAIEmbedder(
            client,
            space,
            throttle or NoThrottle(),
            send_dimensions=_sends_dimensions(settings),
            longest_pause=settings.provider_longest_pause,
        )


async def find_space(settings: EmbeddingSettings) -> EmbeddingSpace:
    """The space of the settings' embedder, without loading a model."""
    if not settings.embeds_with_openai:
        return WordLlamaEmbedder.SPACE
    async with _open_client(settings) as client:
        dimension = await _find_dimension(client, settings)
    return EmbeddingSpace(provider_name(settings.openai_base_url), settings.embedding_model, dimension)


@asynccontextmanager
async def _open_client(settings: EmbeddingSettings) -> AsyncIterator[AsyncOpenAI]:
    # Only here: the SDK is 25 MB of classes that a product without a key never needs.
    from docuchat_models.openai_client import open_client

    key = settings.openai_api_key
    async with open_client(
        api_key=key.get_secret_value() if key else None,
        base_url=settings.openai_base_url,
        read=settings.embedding_timeout,
    ) as client:
        yield client


def _sends_dimensions(settings: EmbeddingSettings) -> bool:
    return settings.embedding_dimensions is not None and settings.embedding_model in SHORTENABLE


async def _find_dimension(client: AsyncOpenAI, settings: EmbeddingSettings) -> int:
    if settings.embedding_dimensions is not None:
        return settings.embedding_dimensions
    if settings.embedding_model in KNOWN_DIMENSIONS:
        return KNOWN_DIMENSIONS[settings.embedding_model]
    import openai

    from docuchat_models.openai_client import translate

    try:
        response = await client.embeddings.create(
            model=settings.embedding_model, input="dimension", encoding_format="float"
        )
    except openai.APIError as error:
        raise translate(error) from error
    return len(response.data[0].embedding)
