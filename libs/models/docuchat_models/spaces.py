"""Embedding spaces."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EmbeddingSpace:
    """The space in which vectors can be compared: one model of one provider at one dimension."""

    provider: str
    model: str
    dimension: int
