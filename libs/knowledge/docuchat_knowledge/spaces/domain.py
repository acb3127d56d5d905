"""An embedding space as the database knows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredSpace:
    """A space's id, and what its cosines weigh in a search beside words, which weigh 1."""

    id: int
    vector_weight: float
