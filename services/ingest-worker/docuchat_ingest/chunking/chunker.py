"""Text to chunks of at most so many tokens, on the boundaries of paragraphs, sentences, lines and words, in that order.

The text is measured unit by unit, once, and chunks are packed from the measures; the token count of the finished
chunk is then taken exactly, because counts of parts add up only nearly. So the cost is two passes of the tokenizer
however the text looks. ADR-0002 compares this with semantic-text-splitter.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate

import regex  # type: ignore[import-untyped]  # its stubs are a package of their own

from docuchat_ingest.chunking.language import detect_language
from docuchat_ingest.reading.formats import Heading
from docuchat_knowledge.jobs.domain import ChunkDraft

CountTokens = Callable[[str], int]

PAGE_BREAK = "\f"
"""Stands between two pages, and so tells whoever reads a chunk on which of its pages a sentence is."""
PATH_MARK = " › "
"""Stands between a heading and the one below it."""
_BOUNDARY = regex.compile(r"[\n\f][^\S\n\f]*[\n\f]\s*|(?<=[.!?؟。！？…۔][\"')\]»”’]?)\s+|[。！？]|[\n\f]")
_WORD = regex.compile(r"\S+\s*|\s+")
_GRAPHEME = regex.compile(r"\X")
_LONGEST_WORD = 1_000
_LEAST_FILL = 0.5
"""A better boundary is taken as long as the chunk stays at least so full."""
_LANGUAGE_SAMPLE = 40_000


class _Boundary(IntEnum):
    WORD = 0
    LINE = 1
    SENTENCE = 2
    PARAGRAPH = 3


@dataclass(frozen=True, slots=True)
class _Unit:
    """A stretch of text that ends at a boundary; white space after it is part of it."""

    start: int
    end: int
    tokens: int
    boundary: _Boundary


def _find_headings(
    headings: Sequence[Heading], pages: Sequence[str], page_starts: Sequence[int]
) -> list[tuple[int, str]]:
    """Where each heading stands in the text, in order, and its path; at its page's start when the page does not have
    its words.
    """
    places = []
    for heading in headings:
        words = r"\s+".join(map(regex.escape, heading.path[-1].split()))
        found = regex.search(words, pages[heading.page - 1], regex.IGNORECASE)
        places.append((page_starts[heading.page - 1] + (found.start() if found else 0), PATH_MARK.join(heading.path)))
    return sorted(places, key=lambda place: place[0])


class Chunker:
    """Splits documents; one instance serves all, it keeps nothing between calls."""

    def __init__(self, count_tokens: CountTokens, *, size: int, overlap: int) -> None:
        if not 0 <= overlap < size:
            raise ValueError("the overlap must be smaller than the chunk")
        self.count = count_tokens
        self._size = size
        self._overlap = overlap

    def split(self, pages: Sequence[str], headings: Sequence[Heading] = ()) -> list[ChunkDraft]:
        """Chunks in order. Their spans are offsets in the pages joined by a page break, their pages count from 1;
        each has the heading under which it begins.
        """
        text = PAGE_BREAK.join(pages)
        page_starts = [0, *accumulate(len(page) + 1 for page in pages[:-1])]
        places = _find_headings(headings, pages, page_starts)
        main_language = detect_language(text[:_LANGUAGE_SAMPLE])
        chunks: list[ChunkDraft] = []
        for start, end, tokens in self._pack(text):
            chunk = text[start:end]
            under = bisect_right(places, start, key=lambda place: place[0])
            chunks.append(
                ChunkDraft(
                    ordinal=len(chunks),
                    page=bisect_right(page_starts, start),
                    page_to=bisect_right(page_starts, end - 1),
                    char_start=start,
                    char_end=end,
                    text=chunk,
                    token_count=tokens,
                    language=detect_language(chunk, main_language),
                    heading=places[under - 1][1] if under else None,
                )
            )
        return chunks

    def _pack(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Spans without the white space around them, and their exact token counts."""
        units = list(self._measure(text))
        first = 0
        while first < len(units):
            last = self._fill(units, first)
            if last == first:
                units[first : first + 1] = self._break_up(text, units[first])
                continue
            if last < len(units):
                last = self._best_cut(units, first, last)
            start, end, tokens = self._trim(text, units[first].start, units[last - 1].end)
            while tokens > self._size and last - first > 1:
                last -= 1
                start, end, tokens = self._trim(text, units[first].start, units[last - 1].end)
            if tokens > self._size:
                units[first : first + 1] = self._break_up(text, units[first])
                continue
            if start < end:
                yield start, end, tokens
            if last >= len(units):
                return
            first = self._step_back(text, units, first, last)

    def _measure(self, text: str) -> Iterator[_Unit]:
        start = 0
        for match in _BOUNDARY.finditer(text):
            end = match.end()
            blank = match[0].strip("\n\f") != match[0] and match[0].count("\n") + match[0].count("\f") > 1
            line = match[0] in ("\n", "\f") and (
                match.start() == 0 or text[match.start() - 1] not in ".!?؟。！？…۔\"')]»”’"
            )
            boundary = _Boundary.PARAGRAPH if blank else _Boundary.LINE if line else _Boundary.SENTENCE
            yield _Unit(start, end, self.count(text[start:end]), boundary)
            start = end
        if start < len(text):
            yield _Unit(start, len(text), self.count(text[start:]), _Boundary.PARAGRAPH)

    def _fill(self, units: list[_Unit], first: int) -> int:
        """The index after the last unit that still fits."""
        tokens, last = 0, first
        while last < len(units) and tokens + units[last].tokens <= self._size:
            tokens += units[last].tokens
            last += 1
        return last

    def _best_cut(self, units: list[_Unit], first: int, last: int) -> int:
        best, tokens = last, sum(unit.tokens for unit in units[first:last])
        cut = last
        while cut > first and tokens >= _LEAST_FILL * self._size:
            if units[cut - 1].boundary > units[best - 1].boundary:
                best = cut
            cut -= 1
            tokens -= units[cut].tokens
        return best

    def _step_back(self, text: str, units: list[_Unit], first: int, last: int) -> int:
        """Where the next chunk starts, so that it repeats at most the overlap of this one and still goes on."""
        end = last
        if self._overlap and units[last - 1].tokens > self._overlap:
            words = self._break_up(text, units[last - 1])
            if len(words) > 1:
                units[last - 1 : last] = words
                end = last - 1 + len(words)
        start, tokens = end, 0
        while start - 1 > first and tokens + units[start - 1].tokens <= self._overlap:
            start -= 1
            tokens += units[start].tokens
        return start

    def _break_up(self, text: str, unit: _Unit) -> list[_Unit]:
        """The unit's words; a monstrous word falls into pieces between graphemes, so that no letter loses its marks."""
        parts: list[_Unit] = []
        for match in _WORD.finditer(text, unit.start, unit.end):
            if match.end() - match.start() <= _LONGEST_WORD:
                tokens = self.count(match[0])
                if tokens <= self._size:
                    parts.append(_Unit(match.start(), match.end(), tokens, _Boundary.WORD))
                    continue
            parts.extend(self._break_word(text, match.start(), match.end()))
        last = parts[-1]
        parts[-1] = _Unit(last.start, last.end, last.tokens, unit.boundary)
        return parts

    def _break_word(self, text: str, start: int, end: int) -> Iterator[_Unit]:
        longest = max(1, self._size // 4)
        begin = start
        for match in _GRAPHEME.finditer(text, start, end):
            if match.end() - begin > longest and match.start() > begin:
                yield from self._break_piece(text, begin, match.start())
                begin = match.start()
        yield from self._break_piece(text, begin, end)

    def _break_piece(self, text: str, start: int, end: int) -> Iterator[_Unit]:
        tokens = self.count(text[start:end])
        if tokens <= self._size or end - start == 1:
            yield _Unit(start, end, tokens, _Boundary.WORD)
            return
        middle = (start + end) // 2  # one grapheme with hundreds of marks on it
        yield from self._break_piece(text, start, middle)
        yield from self._break_piece(text, middle, end)

    def _trim(self, text: str, start: int, end: int) -> tuple[int, int, int]:
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        return start, end, self.count(text[start:end])
