"""The answer without a language model: the best sentences of the documents, quoted, cited and called what they are."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from docuchat_chat.answers.domain import Source
from docuchat_chat.answers.lists import lists
from docuchat_chat.answers.prompt import as_data
from docuchat_chat.answers.questions import Expected, Question, asks_about_document, stems, understand
from docuchat_chat.answers.relevance import Evidence, is_about, read, weigh
from docuchat_chat.answers.sentences import is_sentence, sentences
from docuchat_chat.answers.text import (
    FIRST_STRONG_ISOLATE,
    POP_ISOLATE,
    Language,
    is_right_to_left,
    language_of,
    shorten,
)

MODEL = "extractive"
PROVIDER = "local"
QUOTES = 3
SHORTLIST = 24
"""So many sentences are compared by their meaning; words alone choose them."""
LEAST_FIT = 0.2
QUOTE_LENGTH, LIST_LENGTH, ITEM_LENGTH = 400, 900, 160

_LEAD: dict[Language, str] = {
    "en": "Extractive answer (no language model is configured). The passages of your documents that fit best:",
    "fa": "پاسخ استخراجی (مدل زبانی تنظیم نشده است). مناسب‌ترین جمله‌های سندهای شما:",
    "de": "Extraktive Antwort (es ist kein Sprachmodell eingerichtet). Die passendsten Stellen Ihrer Dokumente:",
    "ar": "إجابة استخراجية (لم يُضبط نموذج لغوي). أنسب المقاطع من مستنداتك:",
}
_NOTHING: dict[Language, str] = {
    "en": "Your documents do not say: no passage is about what you ask. Try the words that the documents use. "
    "(Extractive answer: no language model is configured.)",
    "fa": "سندهای شما در این باره چیزی نمی‌گویند: هیچ بخشی به این پرسش نمی‌خورد. واژه‌های خود سندها را به کار ببرید. "
    "(پاسخ استخراجی: مدل زبانی تنظیم نشده است.)",
    "de": "Ihre Dokumente sagen dazu nichts: Keine Stelle handelt von dem, was Sie fragen. Versuchen Sie es mit den "
    "Wörtern der Dokumente. (Extraktive Antwort: es ist kein Sprachmodell eingerichtet.)",
    "ar": "مستنداتك لا تذكر شيئًا عن هذا: لا يوجد مقطع يتناول سؤالك. جرّب الكلمات المستعملة في المستندات. "
    "(إجابة استخراجية: لم يُضبط نموذج لغوي.)",
}
_QUOTES: dict[Language, tuple[str, str]] = {"en": ("“", "”"), "fa": ("«", "»"), "de": ("„", "“"), "ar": ("«", "»")}

_SHAPES: dict[Expected, re.Pattern[str]] = {
    "number": re.compile(
        r"\d|\b(one|two|three|four|five|six|ten|twice|once)\b|"
        r"\b(zwei|drei|vier|fünf|sechs|zehn|zweimal)\b|(یک|دو|سه|چهار|پنج) "
    ),
    "time": re.compile(
        r"\b\d{4}\b|\b\d{1,2}(\.|st|nd|rd|th|:\d\d)|\b(January|February|March|April|May|June|July|August|September|"
        r"October|November|December|Januar|Februar|März|Mai|Juni|Juli|Oktober|Dezember|century|Jahrhundert)\b|سال|قرن|ماه",
    ),
    "person": re.compile(r"[^\W\d_a-z][a-zäöüß]+\s+(?:(?:de|von|van|der|al)\s+)*[^\W\d_a-z][\w.]+|Dr\.|Prof\.|Mr"),
    "list": re.compile(r"(,[^,.;]{2,60}){2,} ?(,|and|und|or|oder|sowie|و) ?|،[^،.]{2,60}،|:\s"),
    "definition": re.compile(
        r"\b(is|are|was|were) (an?|the|any|one)\b|\b(means|refers to|is called|allow(s|ed)|such as)\b|"
        r"\b(ist|sind|war) (ein|eine|der|die|das)\b|\b(heißt|bezeichnet|nennt man|versteht man)\b|"
        r"یعنی|به معن|است|می‌?گویند| - ",
        re.IGNORECASE,
    ),
}
_SHAPE_BONUS, _LIST_BONUS, _RANK_WEIGHT, _CONTEXT_WEIGHT, _NEARNESS_WEIGHT = 0.15, 0.3, 0.25, 0.35, 0.4


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that might answer, and the source it comes from."""

    sentence: str
    number: int
    position: int
    stems: frozenset[str] = frozenset()
    context: frozenset[str] = frozenset()
    """The stems of what stands before it: its heading, or the sentence that it goes on from."""
    nearness: float = 1.0
    """How well search found its passage, as a share of the best one's score."""
    title: str = ""
    is_list: bool = False


def candidates(sources: Sequence[Source], question: Question | None = None) -> list[Candidate]:
    """Return what may be quoted, each text once: sentences, and the lists that the question asks for.

    Headings and rows of tables are quoted where there is nothing else.
    """
    found: list[Candidate] = []
    fragments: list[Candidate] = []
    seen: set[tuple[str, ...]] = set()
    best = max((source.passage.score for source in sources), default=0.0)
    for source in sources:
        before: frozenset[str] = frozenset()
        nearness = max(source.passage.score, 0.0) / best if best > 0 else 1.0
        if question is not None and question.expected == "list":
            found += _lists(source, question, nearness)
        for sentence in sentences(source.passage.text):
            text = " ".join(sentence.split())
            key = tuple(stems(text))
            if key in seen or not key:
                continue
            seen.add(key)
            bag = frozenset(key)
            candidate = Candidate(text, source.number, len(seen), bag, before, nearness, source.passage.title)
            (found if is_sentence(text) else fragments).append(candidate)
            before = bag
    return found or fragments


def _lists(source: Source, question: Question, nearness: float) -> Iterator[Candidate]:
    """Yield the lists of a source whose heading names at least half of what the question asks for."""
    for heading, items in lists(source.passage.text):
        named = frozenset(stems(heading))
        if 2 * sum(w for word, w in question.subject.items() if word in named) >= sum(question.subject.values()):
            shown = " · ".join(shorten(item, ITEM_LENGTH) for item in items)
            yield Candidate(
                f"{heading} {shown}", source.number, 0, named, frozenset(stems(shown)), nearness, is_list=True
            )


def is_answerable(text: str, sources: Sequence[Source]) -> bool:
    """Tell whether the passages are about the question's subject at all."""
    if not sources or asks_about_document(text):
        return bool(sources)
    evidence = weigh_sources(text, sources)
    return evidence is not None and is_about(evidence)


def weigh_sources(text: str, sources: Sequence[Source]) -> Evidence | None:
    """Compare a question with what was found for it; None when it names no subject."""
    question = understand(text)
    if not question.words:
        return None
    passages = [read(f"{source.passage.title}\n{source.passage.text}") for source in sources]
    return weigh(question, passages, max(source.passage.score for source in sources))


def shortlist(text: str, found: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates whose meaning is worth comparing: those that share most words, in their order."""
    if len(found) <= SHORTLIST or asks_about_document(text):
        return list(found[:SHORTLIST])
    question = understand(text)
    weight = _weigh(question, found)
    best = sorted(found, key=lambda candidate: (-_fit(question, weight, candidate, 0.0), candidate.position))
    return sorted(best[:SHORTLIST], key=lambda candidate: candidate.position)


def rank(text: str, found: Sequence[Candidate], similarities: Sequence[float]) -> list[Candidate]:
    """Return the best candidates, best first; none when even the best shares hardly anything with the question."""
    if asks_about_document(text):
        return _leading(found)
    question = understand(text)
    weight = _weigh(question, found)
    scored = [
        (_fit(question, weight, candidate, similarity), -candidate.position)
        for candidate, similarity in zip(found, similarities, strict=True)
    ]
    order = sorted(range(len(found)), key=lambda i: scored[i], reverse=True)
    if not order or scored[order[0]][0] < LEAST_FIT + _RANK_WEIGHT * found[order[0]].nearness:
        return []
    least = 0.6 * scored[order[0]][0]
    return [found[i] for i in order if scored[i][0] >= least][:QUOTES]


def _leading(found: Sequence[Candidate]) -> list[Candidate]:
    """Return the first sentences of the one document, or the first one of each of several."""
    first = {candidate.title: candidate for candidate in reversed(found)}
    several = sorted(first.values(), key=lambda candidate: candidate.position)
    return (several if len(several) > 1 else list(found))[:QUOTES]


def _weigh(question: Question, found: Sequence[Candidate]) -> dict[str, float]:
    frequency = Counter(word for candidate in found for word in candidate.stems & question.subject.keys())
    return {word: w * math.log(1 + len(found) / (1 + frequency[word])) for word, w in question.subject.items()}


def _fit(question: Question, weight: dict[str, float], candidate: Candidate, similarity: float) -> float:
    total = sum(weight.values()) or 1.0
    shared = candidate.stems & weight.keys()
    overlap = sum(weight[word] for word in sorted(shared))
    overlap += _CONTEXT_WEIGHT * sum(weight[word] for word in sorted((candidate.context & weight.keys()) - shared))
    fit = overlap / total + _NEARNESS_WEIGHT * max(similarity, 0.0) + _RANK_WEIGHT * candidate.nearness
    if overlap and question.expected is not None and _SHAPES[question.expected].search(candidate.sentence):
        fit += _SHAPE_BONUS
    if question.expected == "definition" and _is_defined(candidate, question):
        fit += _SHAPE_BONUS
    return fit + _LIST_BONUS * candidate.is_list


def _is_defined(candidate: Candidate, question: Question) -> bool:
    """Tell whether the sentence begins with what is asked for, or names it before "heißt" or "is called"."""
    first = stems(candidate.sentence)[:4]
    return any(word in question.subject for word in first)


def is_refused(text: str, subjects: Sequence[str]) -> bool:
    """Tell whether a question is about a subject that is not talked about: whether it holds all words of its name."""
    asked = set(stems(text))
    return any(named <= asked for subject in subjects if (named := set(stems(subject))))


def compose(question: str, chosen: Sequence[Candidate], language: Language | None = None) -> list[str]:
    """Return the answer in the pieces in which it is streamed.

    A quote that runs against the direction of the answer stands in a first-strong isolate (UAX #9), so that neither its
    quotation marks nor its [n] move to the wrong end.
    """
    language = language or language_of(question)
    if not chosen:
        return [_NOTHING[language]]
    lead = _LEAD[language]
    opening, closing = _QUOTES[language]
    pieces = [lead]
    shown: set[str] = set() if asks_about_document(question) else {candidate.title for candidate in chosen}
    for candidate in chosen:
        quote = _isolate(as_data(candidate.sentence), LIST_LENGTH if candidate.is_list else QUOTE_LENGTH, lead)
        title = "" if candidate.title in shown else f"{_isolate(as_data(candidate.title), QUOTE_LENGTH, lead)}: "
        shown.add(candidate.title)
        pieces.append(f"\n\n{title}{opening}{quote}{closing} [{candidate.number}]")
    return pieces


def _isolate(text: str, limit: int, lead: str) -> str:
    cut = shorten(text, limit)
    return cut if is_right_to_left(cut) == is_right_to_left(lead) else f"{FIRST_STRONG_ISOLATE}{cut}{POP_ISOLATE}"
