"""Text to vectors: what every embedder gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from docuchat_models.spaces import EmbeddingSpace


@dataclass(frozen=True, slots=True)
class EmbeddingBatch:
    """Vectors (n, d) float32 of unit length, in the order of the texts, and the tokens they cost.

    `estimated` is True when the provider gave no usage and the tokens were counted here. `counted` is our own count of
    all that was sent, to hold the provider's figure against; None where the figure is our own.
    """

    vectors: npt.NDArray[np.float32]
    tokens: int
    estimated: bool
    counted: int | None = None


class Embedder(Protocol):
    """Port to an embedding model; safe for concurrent use."""

    @property
    def space(self) -> EmbeddingSpace:
        """Where the vectors live."""
        ...

    async def embed(self, texts: Sequence[str]) -> EmbeddingBatch:
        """Embed any number of texts.

        Raises the errors of `docuchat_models.errors`; after ProviderInterrupted it may be billed all the same.
        """
        ...


def normalize(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n, d) to rows of unit length; zero rows stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return unit


def are_vectors(vectors: npt.NDArray[np.float32]) -> bool:
    """Whether every row of (n, d) can be compared: finite numbers, not all of them zero."""
    return bool(np.isfinite(vectors).all() and vectors.any(axis=1).all())
