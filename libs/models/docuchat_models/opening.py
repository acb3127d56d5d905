"""The embedder that the settings ask for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from docuchat_models.embeddings import Embedder
from docuchat_models.errors import ProviderFailed
from docuchat_models.openai_embeddings import MOST_BYTES, SLACK, OpenAIEmbedder
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
LARGEST_DIMENSION = 4000
"""What an index holds."""
SHORTENABLE = frozenset(("text-embedding-3-small", "text-embedding-3-large"))
"""Models that are sent the `dimensions` parameter."""


@asynccontextmanager
async def open_embedder(
    settings: EmbeddingSettings, throttle: Throttle | None = None, *, timeout: timedelta | None = None
) -> AsyncIterator[Embedder]:
    """The embedder that the settings ask for: a provider's where they name one, else WordLlama.

    `timeout`: for a request, when not EMBEDDING_TIMEOUT.
    """
    if not settings.embeds_with_openai:
        yield await asyncio.to_thread(WordLlamaEmbedder)
        return
    space = await find_space(settings)
    timeout = timeout or settings.embedding_timeout
    async with _open_client(settings, timeout) as client:
        yield OpenAIEmbedder(
            client,
            space,
            throttle or NoThrottle(),
            send_dimensions=_sends_dimensions(settings),
            longest_pause=settings.provider_longest_pause,
            timeout=timeout,
        )


async def find_space(settings: EmbeddingSettings) -> EmbeddingSpace:
    """The space of the settings' embedder, without loading a model."""
    if not settings.embeds_with_openai:
        return WordLlamaEmbedder.SPACE
    dimension = (
        settings.embedding_dimensions
        or KNOWN_DIMENSIONS.get(settings.embedding_model)
        or await _ask_dimension(settings)
    )
    return EmbeddingSpace(
        provider_name(settings.embedding_url), settings.embedding_model, dimension, settings.embedding_prefixes
    )


@asynccontextmanager
async def _open_client(settings: EmbeddingSettings, timeout: timedelta) -> AsyncIterator[AsyncOpenAI]:
    # Only here: the SDK is 25 MB of classes that a product without a key never needs.
    from docuchat_models.openai_client import open_client

    async with open_client(
        api_key=settings.embedding_key,
        base_url=settings.embedding_url,
        read=timeout,
        connect=min(timedelta(seconds=5), timeout / 2),  # so that what never left is told from what was not answered
    ) as client:
        yield client


def _sends_dimensions(settings: EmbeddingSettings) -> bool:
    return settings.embedding_dimensions is not None and settings.embedding_model in SHORTENABLE


async def _ask_dimension(settings: EmbeddingSettings) -> int:
    import openai
    import orjson

    from docuchat_models.openai_client import LOST, read_bounded, translate

    most = LARGEST_DIMENSION * MOST_BYTES + SLACK
    try:
        async with (
            asyncio.timeout(settings.embedding_timeout.total_seconds()),
            _open_client(settings, settings.embedding_timeout) as client,
            client.embeddings.with_streaming_response.create(
                model=settings.embedding_model, input="dimension", encoding_format="float"
            ) as response,
        ):
            return len(orjson.loads(await read_bounded(response, most))["data"][0]["embedding"])
    except openai.APIError as error:
        raise translate(error) from error
    except (LookupError, TypeError, ValueError, *LOST) as error:
        raise ProviderFailed("The embedding provider sent an answer that cannot be read.") from error
