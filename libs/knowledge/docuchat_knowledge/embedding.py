"""Text to vectors: any OpenAI-compatible provider, or WordLlama, whose weights come with its wheel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from docuchat_knowledge.domain import EmbeddingSpace
from docuchat_knowledge.settings import EmbeddingSettings
from docuchat_knowledge.throttle import Throttle


@dataclass(frozen=True, slots=True)
class EmbeddingBatch:
    """Vectors (n, d) float32 of unit length, in the order of the texts, and the tokens they cost.

    `estimated` is True when the provider gave no usage and the tokens were counted here.
    """

    vectors: npt.NDArray[np.float32]
    tokens: int
    estimated: bool


class Embedder(Protocol):
    """Port to an embedding model; safe for concurrent use."""

    @property
    def space(self) -> EmbeddingSpace: ...

    async def embed(self, texts: Sequence[str]) -> EmbeddingBatch:
        """Embed any number of texts. Raises RateLimited, UpstreamUnavailable, EmbeddingRefused."""
        ...


@asynccontextmanager
async def open_embedder(settings: EmbeddingSettings, throttle: Throttle | None = None) -> AsyncIterator[Embedder]:
    """The embedder that the settings ask for: the provider's with an OPENAI_API_KEY, WordLlama without."""
    raise NotImplementedError
    yield
