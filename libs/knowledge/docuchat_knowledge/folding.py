"""The search key: one spelling for what readers take as one word. Stored text is never changed.

Folded are: Unicode compatibility forms (NFKC: presentation forms, full width, ligatures), Arabic and Persian letters
that look the same (ي ى → ی, ك → ک, ة ۀ → ه, أ إ آ ٱ → ا, ؤ → و, ئ → ی), Arabic and Persian digits, vowel signs and
tatweel, and the three ways in which Persian joins a word's parts: «می‌شود» (with ZWNJ), «می شود» (with a space) and
«میشود» all become «میشود».
After the rules of Hazm (https://github.com/roshan-research/hazm) and Lucene's PersianNormalizationFilter,
ArabicNormalizationFilter.
"""

from __future__ import annotations

import re
import unicodedata

_ZWNJ = "\u200c"
_LETTERS = {
    "ي": "ی",
    "ى": "ی",
    "ئ": "ی",
    "ې": "ی",
    "ے": "ی",
    "ك": "ک",
    "ة": "ه",
    "ۀ": "ه",
    "ە": "ه",
    "ہ": "ه",
    "ھ": "ه",
    "أ": "ا",
    "إ": "ا",
    "آ": "ا",
    "ٱ": "ا",
    "ؤ": "و",
    "ـ": "",
    "ء": "",
}
_DIGITS = {chr(zero + value): str(value) for zero in (0x0660, 0x06F0) for value in range(10)}
# invisible: soft hyphen, zero-width space and joiner, direction marks, byte order mark
_INVISIBLE = dict.fromkeys(
    map(
        chr,
        (
            0x00AD,
            0x200B,
            0x200D,
            0x200E,
            0x200F,
            0x061C,
            0x2060,
            0xFEFF,
            *range(0x202A, 0x202F),
            *range(0x2066, 0x206A),
        ),
    ),
    "",
)
_TABLE = str.maketrans(
    {**_LETTERS, **_DIGITS, **_INVISIBLE, "\u00a0": " ", "\u202f": " ", "ي": "ی", "٫": ".", "٬": ","}
)
_ARABIC_FORMS = str.maketrans({"ی": "ي", "ک": "ك"})

_LETTER = r"[آابپتثجچحخدذرزژسشصضطظعغفقکگلمنوهی]"
_PREFIX = re.compile(rf"(?<!\w)(ن?می)[ {_ZWNJ}]+(?={_LETTER})")
_SUFFIX = re.compile(
    rf"(?<={_LETTER})[ {_ZWNJ}]+(ها(?:ی|یی|یم|یت|یش|یمان|یتان|یشان)?|تر(?:ین)?|ام|ات|اش|ای|اند|ایم|اید)(?!\w)"
)
_PLURAL = re.compile(r"(?<=\w\w\w)(?:ها(?:ی|یی|یم|یت|یش|یمان|یتان|یشان)?)(?!\w)")
_ZWNJ_WORD = re.compile(rf"\w+(?:{_ZWNJ}+\w+)+")
_ARABIC_SCRIPT = re.compile(r"[\u0600-\u06ff\ufb50-\ufdff\ufe70-\ufeff]")


def fold(text: str) -> str:
    """The search key of a text; folding a key again changes nothing.

    Only the letters are folded here, as is needed to compare; words that ZWNJ or a space splits are joined.
    """
    return _join(_fold_letters(text)).replace(_ZWNJ, "")


def fold_chunk(text: str, language: str | None) -> str:
    """The search key under which a chunk is indexed.

    The parts of words joined by ZWNJ are added at its end, so that «کتاب» finds «کتاب‌خانه».
    """
    letters = _fold_letters(text)
    if _ZWNJ not in letters:  # most scripts; the search below reads every word
        return _spell_for(_join(letters), language)
    parts = [part for word in _ZWNJ_WORD.findall(letters) for part in word.split(_ZWNJ) if len(part) > 1]
    key = _join(letters).replace(_ZWNJ, "")
    return _spell_for(f"{key} . {' '.join(parts)}" if parts else key, language)


def fold_query(text: str, language: str | None) -> str:
    """The search key of a question, as chunks in `language` have it."""
    return _spell_for(fold(text), language)


def _fold_letters(text: str) -> str:
    if text.isascii():
        return text.replace("\0", "").lower()
    composed = unicodedata.normalize("NFKC", text.replace("\0", "")).translate(_TABLE)
    if _ARABIC_SCRIPT.search(composed):
        # vowel signs carry no meaning for search in Arabic script; Latin, Cyrillic accents do and stay
        composed = "".join(
            character
            for character in composed
            if not ("\u0610" <= character <= "\u08ff" and unicodedata.combining(character))
        )
        composed = unicodedata.normalize("NFKC", composed).translate(_TABLE)
    return composed.lower()


def _join(letters: str) -> str:
    if not _ARABIC_SCRIPT.search(letters):
        return letters
    return _PLURAL.sub("", _SUFFIX.sub(r"\1", _PREFIX.sub(r"\1", letters)))


def _spell_for(key: str, language: str | None) -> str:
    # the Arabic stemmer knows Arabic letters only
    return key.translate(_ARABIC_FORMS) if language == "ar" else key
