"""Scores from words: Okapi BM25 and how near the question's words stand to one another; and the fusion of both legs.

Pure functions on numbers; what was measured is in docs/adr/0003-fusion.md.
BM25: Robertson and Zaragoza, The Probabilistic Relevance Framework (2009). Proximity: Tao and Zhai, An Exploration of
Proximity
Measures in Information Retrieval (SIGIR 2007). Fusion: Bruch, Gai and Ingber, An Analysis of Fusion Functions (TOIS
2023).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

K1 = 0.65
B = 0.75
PAIR_WEIGHT = 0.5
NARROW_WINDOW, NARROW_WEIGHT = 10, 0.6
WIDE_WINDOW, WIDE_WEIGHT = 30, 0.3
SMALLEST_SPREAD = 0.1
"""Cosines of the nearest chunks that differ by less than this say little."""


@dataclass(frozen=True, slots=True)
class QueryWord:
    """A word of the question: its place there, its forms in the tenant's languages, how many chunks have it, its
    weight.
    """

    position: int
    lexemes: frozenset[str]
    chunk_count: int
    weight: float


@dataclass(frozen=True, slots=True)
class ChunkWords:
    """Where a chunk has the question's words (positions count from 1 and ascend), and its length in distinct words."""

    term_count: int
    positions: Mapping[str, Sequence[int]]


def inverse_document_frequency(chunk_count: int, chunks: int) -> float:
    """How telling a word is that `chunk_count` of `chunks` have; never below zero (Lucene's form)."""
    found = min(chunk_count, chunks)
    return math.log(1 + (chunks - found + 0.5) / (found + 0.5))


def score_words(query: Sequence[QueryWord], chunk: ChunkWords, mean_length: float) -> float:
    """BM25 and proximity of a chunk, as a share of the question's whole weight: 0 without any of its words, about 1
    with all.
    """
    whole = sum(word.weight for word in query)
    if whole <= 0:
        return 0.0
    places = [_merge(word, chunk) for word in query]
    damping = K1 * (1 - B + B * chunk.term_count / max(mean_length, 1.0))
    # a word that the question repeats counts once
    distinct = {word.lexemes: (word.weight, place) for word, place in zip(query, places, strict=True) if place}
    score = sum(weight * (K1 + 1) * len(place) / (len(place) + damping) for weight, place in distinct.values())
    if len(distinct) > 1:
        score += PAIR_WEIGHT * _score_pairs(query, places)
    events = sorted((position, number) for number, (_, place) in enumerate(distinct.values()) for position in place)
    weights = [weight for weight, _ in distinct.values()]
    score += NARROW_WEIGHT * _best_window(events, weights, NARROW_WINDOW)
    score += WIDE_WEIGHT * _best_window(events, weights, WIDE_WINDOW)
    return score / whole


def _merge(word: QueryWord, chunk: ChunkWords) -> Sequence[int]:
    found = [chunk.positions[lexeme] for lexeme in word.lexemes if lexeme in chunk.positions]
    if len(found) == 1:  # the usual case, and in order as it is
        return found[0]
    return sorted({position for places in found for position in places})


def _score_pairs(query: Sequence[QueryWord], places: Sequence[Sequence[int]]) -> float:
    """Neighbours of the question that stand in the chunk as they stand there: nearer counts more."""
    score = 0.0
    for left in range(len(query) - 1):
        here, there = places[left], places[left + 1]
        if not here or not there or query[left].lexemes == query[left + 1].lexemes:
            continue
        gap = query[left + 1].position - query[left].position
        nearest = _nearest_offset(here, there, gap)
        score += min(query[left].weight, query[left + 1].weight) / (1 + nearest)
    return score


def _nearest_offset(here: Sequence[int], there: Sequence[int], gap: int) -> int:
    """The smallest |there - here - gap|, by one walk through both sorted lists."""
    best, index = 1 << 30, 0
    for position in here:
        target = position + gap
        while index + 1 < len(there) and abs(there[index + 1] - target) <= abs(there[index] - target):
            index += 1
        best = min(best, abs(there[index] - target))
    return best


def _best_window(events: Sequence[tuple[int, int]], weights: Sequence[float], width: int) -> float:
    """The greatest weight of distinct words within `width` positions; `events` are (position, word), sorted."""
    counts = [0] * len(weights)
    best = inside = 0.0
    start = 0
    for position, word in events:
        if counts[word] == 0:
            inside += weights[word]
        counts[word] += 1
        while events[start][0] < position - width:
            gone = events[start][1]
            counts[gone] -= 1
            if counts[gone] == 0:
                inside -= weights[gone]
            start += 1
        best = max(best, inside)
    return best


def fuse(
    word_scores: Mapping[UUID, float],
    similarities: Mapping[UUID, float],
    nearest: Sequence[float],
    *,
    vector_weight: float,
) -> dict[UUID, float]:
    """One score from both legs: a convex combination on scales that compare between questions and models.

    `vector_weight` is the embedding space's: how far its model can be trusted. Words count as the share of the question
    that the chunk covers; cosines as their place between the last and the first of the vector leg (`nearest`, best
    first), since models differ in how high their cosines are.
    """
    lowest = nearest[-1] if nearest else 0.0
    spread = max(nearest[0] - lowest, SMALLEST_SPREAD) if nearest else 1.0
    return {
        chunk: word_scores.get(chunk, 0.0)
        + (vector_weight * max((similarities[chunk] - lowest) / spread, -1.0) if chunk in similarities else 0.0)
        for chunk in {*word_scores, *similarities}
    }
