"""The telling words of a question."""

from __future__ import annotations

import re
from collections.abc import Sequence

import asyncpg

from docuchat_knowledge.search.ranking import QueryWord

_WITHOUT_STOP_WORDS = frozenset(
    ("ar", "da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "no", "nb", "pt", "ro", "ru", "sv", "tr")
)
"""Languages whose text search configuration leaves stop words out; the others' is `simple`."""

_ASKING = frozenset(
    """
    wer wem wessen wann warum wieso weshalb woher wohin wofür wodurch wovon womit worin woran worauf woraus worum wozu
    worüber wonach wobei inwiefern inwieweit wieviel wieviele
    چه چیست کیست کدام کدامند کجا کجاست چند چندم چندمین چقدر چرا چگونه چطور ایا چیزی کسی
    ماذا متی لماذا این کیف کم هل
    """.split()
)
"""Words that ask and no list of stop words has: rare in documents, they would look like a question's subject."""
_WORD = re.compile(r"\w+")


def drop_asking_words(key: str) -> str:
    """Take out of a folded question what asks, as long as something else is left."""
    kept = _WORD.sub(lambda word: "" if word.group() in _ASKING else word.group(), key)
    return kept if _WORD.search(kept) else key


def words_by_position(rows: Sequence[asyncpg.Record], present: set[str]) -> dict[int, set[str]]:
    """Forms of each word of the question, without stop words.

    The question's language is taken to be the one in which most of its words are stop words; its stop words count in no
    language, since to another language, or to `simple`, they would look like rare and telling words.
    """
    by_language: dict[str, dict[int, str]] = {}
    for row in rows:
        for position in row["positions"] or ():
            by_language.setdefault(row["language"], {})[position] = row["lexeme"]
    everywhere = {position for places in by_language.values() for position in places}
    stops = {
        judge: everywhere - by_language.get(judge, {}).keys() for judge in (present | {"en"}) & _WITHOUT_STOP_WORDS
    }
    most = max(map(len, stops.values()))
    stopped = {position for positions in stops.values() if len(positions) == most for position in positions}
    if stopped == everywhere:
        stopped = set()
    words: dict[int, set[str]] = {}
    for language in present:
        for position, lexeme in by_language.get(language, {}).items():
            if position not in stopped:
                words.setdefault(position, set()).add(lexeme)
    return words


def split_by_budget(words: Sequence[QueryWord], budget: int) -> tuple[list[QueryWord], list[QueryWord]]:
    """(words that can be looked up one and all within the budget, the rest), each rarest first."""
    rarest = sorted(words, key=lambda word: word.chunk_count)
    spent = 0
    for number, word in enumerate(rarest):
        spent += word.chunk_count
        if spent > budget:
            return rarest[:number], rarest[number:]
    return rarest, []


def as_tsquery(lexeme: str) -> str:
    """A lexeme as a tsquery literal of one word."""
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"
