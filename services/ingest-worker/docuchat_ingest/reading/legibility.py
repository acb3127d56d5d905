"""Whether text can be read by anybody: what a font without a map of its letters gives looks like text and is none."""

import re
import unicodedata

_GARBLED_SHARE = 0.3
"""Of a page's letters: from here on nothing of the page can be trusted."""

_NO_LETTERS = re.compile("[\ufffd\ue000-\uf8ff\U000f0000-\U0010fffd]")
"""The replacement character and the private use areas: numbers of shapes in a font, letters to nobody."""
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")
_VOWELS = frozenset("aeiouy")
_ENOUGH_LETTERS = 200
"""Fewer tell nothing: a table of part numbers, a formula."""
_LEAST_VOWELS = 0.18
"""Running text of any language in Latin script has 0.3 to 0.5; letters that were moved along the alphabet have 0.15."""


def is_garbled(text: str) -> bool:
    """Whether so many characters stand for no letter that the rest is not worth keeping."""
    visible = len(text) - sum(map(str.isspace, text))
    return visible > 0 and len(_NO_LETTERS.findall(text)) > _GARBLED_SHARE * visible


def has_words(text: str) -> bool:
    """Whether Latin letters, as far as they are enough to tell, can be words of any language."""
    letters = _LATIN.findall(text)
    if len(letters) < max(_ENOUGH_LETTERS, sum(map(str.isalpha, text)) / 2):
        return True
    plain = unicodedata.normalize("NFD", "".join(letters)).lower()
    return sum(letter in _VOWELS for letter in plain) >= _LEAST_VOWELS * len(letters)
