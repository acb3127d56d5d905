"""Words, direction and language of short texts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final, Literal

from docuchat_knowledge.folding import fold

Language = Literal["en", "fa", "de", "ar"]
LANGUAGES: Final[Mapping[Language, str]] = {"en": "English", "fa": "Persian", "de": "German", "ar": "Arabic"}
"""Those that the product says something in itself, by their names in English."""

_WORD = re.compile(r"\w+", re.UNICODE)
_PERSIAN_ONLY = frozenset("پچژگکی")
_ARABIC_ONLY = frozenset("ةيكىأإؤئ")
_PERSIAN_WORDS = frozenset("است هست چیست چه را از به که این آن برای چگونه کدام می در با چند کجا".split())
_ARABIC_WORDS = frozenset("في من على ما هو هي هل كيف إلى عن التي الذي هذا هذه ماذا أين متى لماذا كم".split())
_GERMAN_WORDS = frozenset(
    (
        "der die das ist sind und oder nicht ein eine einen wie was wer wo wann warum welche welcher welches mit für "
        "auf von zu im was worum geht es dem den des diesem dieser bedeutet heißt hat gibt wem wen wessen kann"
    ).split()
)
_ENGLISH_WORDS = frozenset(
    "the is are and or not a an how what who where when why which with for on of to in does do it that was".split()
)

PAGE_BREAK = "\f"
"""Stands between two pages in the text of a passage."""
FIRST_STRONG_ISOLATE = "\u2068"
POP_ISOLATE = "\u2069"
MARK = "†"
"""Ends a sentence of an answer that rests on no document; what it means stands under the answer, behind LEGEND."""
LEGEND = f"\n\n{MARK} "


def words(text: str) -> list[str]:
    """Return the folded words of a text, long ones cut to a stem that inflections share."""
    return [word if len(word) <= 6 else word[:6] for word in _WORD.findall(fold(text))]


def unmarked(answer: str) -> str:
    """Return an answer without its marks and what they mean, as the model wrote it."""
    body, legend, _ = answer.rpartition(LEGEND)
    return body.replace(MARK, "") if legend else answer


def shorten(text: str, limit: int) -> str:
    """Cut a text to at most `limit` characters, between words and never inside a letter with its marks."""
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    at = max(cut.rfind(" "), cut.rfind("\n"))
    if at > limit // 2:
        return cut[:at].rstrip() + "…"
    while cut and (unicodedata.combining(text[len(cut)]) or text[len(cut)] == "\u200d" or cut[-1] in "\u200c\u200d"):
        cut = cut[:-1]
    return cut + "…"


def is_right_to_left(text: str) -> bool:
    """Tell the direction of a text by its first strong character (UAX #9, rule P2)."""
    for character in text:
        direction = unicodedata.bidirectional(character)
        if direction in ("R", "AL"):
            return True
        if direction == "L":
            return False
    return False


def is_mostly_right_to_left(text: str) -> bool:
    """Tell whether a text has more letters that are read from the right than from the left."""
    directions = [unicodedata.bidirectional(character) for character in text]
    return sum(direction in ("R", "AL") for direction in directions) > directions.count("L")


def language_of(text: str) -> Language:
    """Guess the language of a question: Persian, Arabic, German, else English."""
    letters = [c for c in text if c.isalpha()]
    arabic_script = sum("\u0600" <= c <= "\u06ff" or "\ufb50" <= c <= "\ufeff" for c in letters)
    tokens = {token.strip("؟?.,!،:;\"'«»()") for token in text.casefold().split()}
    if arabic_script * 2 > len(letters) > 0:
        persian = 2 * len(tokens & _PERSIAN_WORDS) + sum(c in _PERSIAN_ONLY for c in letters)
        arabic = 2 * len(tokens & _ARABIC_WORDS) + sum(c in _ARABIC_ONLY for c in letters)
        return "ar" if arabic > persian else "fa"
    german = 2 * len(tokens & _GERMAN_WORDS) + 2 * sum(c in "äöüßÄÖÜ" for c in letters)
    return "de" if german > 2 * len(tokens & _ENGLISH_WORDS) else "en"
