"""Sentences of a page's text: Unicode's rules, the abbreviations and ordinals of three languages, and the layout.

After UAX #29 a full stop ends no sentence before a small letter (SB8) nor between digits or capitals (SB6, SB7);
abbreviations and German ordinals ("am 25. Mai") are the tailoring that it leaves to the languages. A page's lines tell
the rest: headings, list items and rows of tables stand alone although no full stop ends them.
"""

from __future__ import annotations

import re

_STOP = re.compile(r"[.!?؟。！？…۔]+[\"'»”’“)\]]*(?=\s|$)|[。！？]")
_PARAGRAPH = re.compile(r"\s*\n[^\S\n]*\n\s*")
_ITEM = re.compile(r"\s*(?:[•◦▪‣●■*–—-]|\(?(?:\d{1,3}|[a-z]|[ivx]{1,4})\)|\d{1,2}\.(?=\s))\s", re.IGNORECASE)
_LAST_WORD = re.compile(r"[^\s(\[„“\"«/]+$")
_CONTINUES = re.compile(r"\s*[^\w\s]*[^\W\d_]")
_ABBREVIATIONS = frozenset(
    """
    prof dr mr mrs ms st jr sr vs etc eg e.g ie i.e al fig figs eq no nos vol sect sec chap pp ed eds cf approx
    dept inc ltd co corp
    jan feb mar apr jun jul aug sep sept oct nov dec gen col rev hon univ
    hr fr frau nr abb tab bzw bspw ca d.h dh z.b zb u.a ua usw vgl sog evtl ggf inkl max min mind mio mrd tel str abs
    art kap bd hrsg jh jhd jahrh geb gest bzgl def bem beh bew vor prop o.ä u.ä s.o s.u o.b.d.a i.d.r z.t v.chr
    n.chr chr
    ق.م ه.ش ه.ق م ص ج د
    """.split()
)
_ORDINAL_FOLLOWED = re.compile(
    r"\s+(?:[a-zäöü]|Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember|Jahrhundert|"
    r"Jahrtausend|Auflage|Klasse|Stock|Kapitel|Tag|Jahr)"
)
_SHORT_LINE = 0.62
_LEAST_WIDTH = 24


def sentences(text: str) -> list[str]:
    """Split a text into its sentences; the pieces are substrings of the text, white space trimmed."""
    found: list[str] = []
    for block in _blocks(text):
        start = 0
        for stop in _STOP.finditer(block):
            if _ends_sentence(block, start, stop):
                found.append(block[start : stop.end()].strip())
                start = stop.end()
        found.append(block[start:].strip())
    return [piece for piece in found if piece]


def is_sentence(text: str) -> bool:
    """Tell whether a piece says something: it ends as sentences do, or is long enough and mostly words."""
    words = [word for word in text.split() if sum(c.isalpha() for c in word) > 1]
    if "....." in text or ". . . ." in text or len(words) < 3:
        return False
    if sum(len(word) for word in words) < 0.55 * len("".join(text.split())):  # a formula, a row of figures
        return False
    return text.rstrip("\"'»”’“)]")[-1:] in tuple(".!?؟。！？…۔:;") or len(words) >= 6


def _blocks(text: str) -> list[str]:
    """Split at blank lines, and where the layout shows that a line does not go on."""
    found: list[str] = []
    for paragraph in _PARAGRAPH.split(text):
        lines = [line for page in paragraph.split("\f") for line in page.split("\n")]
        widths = sorted(len(line.strip()) for line in lines)
        wide = widths[len(widths) * 3 // 4]  # the longest may be two that a hyphen joined
        position = start = 0
        for number, line in enumerate(lines):
            if number and _begins_block(lines[number - 1], line, wide):
                found.append(paragraph[start:position])
                start = position
            position += len(line) + 1
        found.append(paragraph[start:])
    return found


def _begins_block(before: str, line: str, wide: int) -> bool:
    if _ITEM.match(line):
        return True
    end = before.rstrip()
    if not end or not line.strip():
        return False
    first = next((c for c in line if c.isalnum()), "")
    if end[-1] in ",;-‐(&" or (first.islower() and len(end) > _LEAST_WIDTH):
        return False
    return len(end) < max(_SHORT_LINE * wide, _LEAST_WIDTH)


def _ends_sentence(block: str, start: int, stop: re.Match[str]) -> bool:
    mark = stop.group()
    if not mark.startswith(".") or len(mark.rstrip("\"'»”’“)]")) > 1:
        return True
    rest = block[stop.end() :]
    following = _CONTINUES.match(rest)
    if following and following.group()[-1].islower():
        return False
    word = _LAST_WORD.search(block, start, stop.start())
    last = word.group().casefold() if word else ""
    if last in _ABBREVIATIONS or (len(last) == 1 and last.isalpha() and last.isascii()):
        return not rest.strip()
    if last.isdigit() and not block[start : stop.start() - len(last)].strip():
        return False  # the number of a list's item
    return not (last.isdigit() and len(last) < 3 and _ORDINAL_FOLLOWED.match(rest))
