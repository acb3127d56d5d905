"""The words around a match of a search, as the reader typed them."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Final

from docuchat_chat.answers.text import shorten
from docuchat_common.defusing import defuse
from docuchat_common.text import one_line
from docuchat_knowledge.folding import fold

LENGTH: Final = 200
_BEFORE: Final = 60
_WORD: Final = re.compile(r"\S+")


def snippet_of(text: str, needle: str) -> str:
    """Return whole words around the first place where a text, folded, holds `needle`; else the text's beginning."""
    words = [(word.start(), word.end()) for word in _WORD.finditer(text)]
    # folding is not letter by letter, so the place is found by what still holds the needle
    last = bisect_left(words, True, key=lambda word: needle in fold(text[: word[1]]))
    if last == len(words):
        return shorten(_shown(text), LENGTH)
    end = words[last][1]
    until = words[: last + 1]
    first = last - bisect_left(until[::-1], True, key=lambda word: needle in fold(text[word[0] : end]))
    while first > 0 and words[last][0] - words[first - 1][0] <= _BEFORE:
        first -= 1
    start = words[first][0]
    return ("…" if first else "") + shorten(_shown(text[start:]), LENGTH)


def _shown(text: str) -> str:
    return one_line(defuse(text))
