"""Citations: which of the numbers in an answer are true, and which words of the source they rest on."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from docuchat_chat.answers.domain import Citation, DocumentName, Passage, Source
from docuchat_chat.answers.sentences import sentences
from docuchat_chat.answers.text import PAGE_BREAK, shorten, words
from docuchat_common.defusing import defuse
from docuchat_common.ids import DocumentId

QUOTE_LENGTH = 300

# [1], [1, 2], [1][2], 【1】 and the same in Persian or Arabic digits (\d takes every script's).
MARKER = re.compile(r"[\[【](\d{1,3}(?:\s*[,،;]\s*\d{1,3})*)[\]】]")
NUMBER = re.compile(r"\d{1,3}")


def cited_numbers(answer: str) -> list[int]:
    """Return the numbers that an answer cites, each once, in order of first use."""
    return list(dict.fromkeys(int(n) for marker in MARKER.finditer(answer) for n in NUMBER.findall(marker[1])))


def documents_of(citations: Sequence[Citation]) -> list[DocumentId]:
    """Return the documents that are cited, each once."""
    return list({citation.document_id for citation in citations})


def without_words(citations: Sequence[Citation], of_documents: Collection[DocumentId]) -> tuple[Citation, ...]:
    """Leave no words of documents that are gone, for all or for the reader; the citations' numbers stay, marked."""
    return tuple(
        replace(citation, title="", filename="", quote="", deleted=True)
        if citation.document_id in of_documents
        else citation
        for citation in citations
    )


def with_names(sources: Sequence[Source], names: Mapping[DocumentId, DocumentName]) -> tuple[Source, ...]:
    """Name the sources' documents as they are called now; of those that are not in `names` the numbers stay, marked."""
    return tuple(_named(source, names.get(source.passage.document_id)) for source in sources)


def _named(source: Source, name: DocumentName | None) -> Source:
    title, filename = name or ("", "")
    return Source(source.number, replace(source.passage, title=title, filename=filename), deleted=name is None)


def check_citations(answer: str, sources: Sequence[Source]) -> tuple[tuple[Citation, ...], tuple[int, ...]]:
    """Return the citations that hold, and the numbers that point at nothing that was retrieved."""
    by_number = {source.number: source for source in sources}
    claims: dict[int, list[str]] = {}
    for sentence in _claims(answer):
        for number in cited_numbers(sentence):
            claims.setdefault(number, []).append(MARKER.sub(" ", sentence))
    held = tuple(
        _cite(by_number[number], claims.get(number, [])) for number in cited_numbers(answer) if number in by_number
    )
    return held, tuple(number for number in cited_numbers(answer) if number not in by_number)


def best_quote(text: str, claim: str) -> tuple[str, int]:
    """Return the sentence of a text that shares most with a claim, cut to a quotable length, and where it begins."""
    wanted = set(words(claim))
    best, best_start, best_score = "", 0, -1.0
    position = 0
    for sentence in sentences(text):
        start = text.index(sentence, position)
        position = start + len(sentence)
        has = set(words(sentence))
        shared = len(wanted & has)
        # Shared words count, and among equals the sentence that says little else.
        score = shared + (shared / len(has) if has else 0.0)
        if score > best_score:
            best, best_start, best_score = sentence, start, score
    return shorten(" ".join(best.split()), QUOTE_LENGTH), best_start


def pages_of(passage: Passage, quote: str, start: int) -> tuple[int | None, int | None]:
    """Return the first and last page of a quote; the passage's where its text does not tell them apart."""
    text, page, page_to = passage.text, passage.page, passage.page_to
    if page is None or page_to is None or text.count(PAGE_BREAK) != page_to - page:
        return page, page_to
    end = start
    for word in quote.removesuffix("…").split():
        end = text.index(word, end) + len(word)
    return page + text.count(PAGE_BREAK, 0, start), page + text.count(PAGE_BREAK, 0, end)


def _cite(source: Source, claims: list[str]) -> Citation:
    passage = source.passage
    # the first claim: a reader opens the citation there, and words of several claims would fit a sentence of none
    quote, start = best_quote(passage.text, claims[0] if claims else "")
    page, page_to = pages_of(passage, quote, start)
    return Citation(
        number=source.number,
        chunk_id=passage.chunk_id,
        document_id=passage.document_id,
        title=passage.title,
        filename=passage.filename,
        page=page,
        page_to=page_to,
        quote=defuse(quote),
        score=passage.score,
    )


def _claims(answer: str) -> list[str]:
    """Split an answer into sentences, each with the markers that follow its full stop."""
    found: list[str] = []
    for sentence in sentences(answer):
        rest = sentence
        marker = MARKER.match(sentence)
        if marker and found:
            end = marker.end()
            while following := MARKER.match(sentence, end):
                end = following.end()
            found[-1] += " " + sentence[:end]
            rest = sentence[end:].strip()
        if rest:
            found.append(rest)
    return found
