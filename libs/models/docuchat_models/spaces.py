"""Embedding spaces."""

from __future__ import annotations

from dataclasses import dataclass

from docuchat_models.prefixes import NO_PREFIXES, Prefixes


@dataclass(frozen=True, slots=True)
class EmbeddingSpace:
    """The space in which vectors can be compared: one model of one provider at one dimension, asked in one way."""

    provider: str
    model: str
    dimension: int
    prefixes: Prefixes = NO_PREFIXES

    def as_query(self, text: str) -> str:
        """Return what the model is sent of a question."""
        return self.prefixes.query + text

    def as_passage(self, text: str) -> str:
        """Return what the model is sent of a passage; what is stored and quoted stays without."""
        return self.prefixes.passage + text

    @property
    def usual_vector_weight(self) -> float:
        """What cosines weigh in a search beside words, which weigh 1: as far as the model can be trusted.

        0.25 was measured for WordLlama (docs/adr/0003-fusion.md), 0.4 and more for models that read sentences.
        """
        return 0.25 if self.provider == "wordllama" else 0.4
