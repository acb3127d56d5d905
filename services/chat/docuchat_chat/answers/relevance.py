"""Whether passages are about what a question asks: how much of its subject they name, and which names they lack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from docuchat_chat.answers.questions import Question, Word, stem, unaccented, words

LEAST_SUM, SURE_SCORE, MOST_SCORE = 1.41, 1.3, 2.0
"""What an answer needs: score and coverage together, and names where search is not sure.

Fitted on one half of the articles of three sets of questions so that 92 % of the questions are refused whose article
was taken away; a logistic regression gave both the same weight. tests/integration/test_answers.py reports both halves.
"""
ALL_NAMED, FEW = 0.999, 4
SHORTEST_PART, PRESENT = 4, 0.6
"""Part of a compound; a word counts as named when passages hold so much of it: German writes as one word what they may
write as several."""


@dataclass(frozen=True, slots=True)
class PassageWords:
    """The words of a passage and its title: their stems, and all of them in order without accents, spaces around."""

    stems: frozenset[str]
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for and against an answer."""

    score: float
    """The search's score of the best passage: 0 to about 2."""
    coverage: float
    """The share of the question's subject that the best passage names."""
    is_unnamed: bool
    """A name, or a German noun, is in none of the passages; or part of a longer name is not in the best one."""
    passages: int
    """How many passages were found."""


def read(text: str) -> PassageWords:
    """Return the words of a passage."""
    found = words(text)
    return PassageWords(frozenset(map(stem, found)), f" {' '.join(map(unaccented, found))} ")


def weigh(question: Question, passages: Sequence[PassageWords], score: float) -> Evidence:
    """Compare a question with the passages that were found for it."""
    shares = [[_share(word, passage) for word in question.words] for passage in passages]
    weights = [word.weight for word in question.words]
    named = [sum(weight * share for weight, share in zip(weights, row, strict=True)) for row in shares]
    best = shares[named.index(max(named))]
    return Evidence(
        score=score,
        coverage=max(named) / (sum(weights) or 1.0),
        is_unnamed=any(
            (best[number] if word.is_joined else max(row[number] for row in shares)) < PRESENT
            for number, word in enumerate(question.words)
            if word.is_name
        ),
        passages=len(passages),
    )


def is_about(evidence: Evidence) -> bool:
    """Tell whether the passages are about the question's subject."""
    if evidence.is_unnamed and evidence.score < SURE_SCORE:
        return False
    if evidence.passages < FEW and evidence.coverage >= ALL_NAMED and not evidence.is_unnamed:
        return True  # among few passages no word is rare, so that no score is high
    return min(evidence.score, MOST_SCORE) + evidence.coverage >= LEAST_SUM


def _share(word: Word, passage: PassageWords) -> float:
    """How much of a word a passage has: all of it when a form of it is there, else the parts of a compound."""
    if word.stem in passage.stems:
        return 1.0
    if word.plain[0].isdigit():
        return 0.0
    length = len(word.plain)
    lengths = range(length - 1, SHORTEST_PART - 1, -1)
    first = next((n for n in lengths if f" {word.plain[:n]}" in passage.text), 0)
    last = next((n for n in lengths if word.plain[-n:] in passage.text), 0)
    return min(1.0, (first + last) / length)
