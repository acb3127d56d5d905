"""Instructions that an answer begins to repeat: it ends before they can be read.

Compared are words, whatever stands between them. Text that the reader has anyway may be repeated: what stands in the
sources or in the question, and what the instructions themselves say in quotation marks or as the answer to be given
when nothing is found.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from docuchat_chat.answers.prompt import rules
from docuchat_chat.answers.setup import Setup
from docuchat_common.text import one_line

RUN: Final = 12
"""Words in a row of the instructions that end an answer."""
_LEAST: Final = 6
"""Words of an owner's instructions that are shorter than a run: all of them are one."""
_SUSPECT: Final = 4
"""Words in a row from which on nothing is shown until it is clear that the run does not go on."""
_UNSEEN: Final = "\u00ad\u0640\u200b-\u200f\u2060-\u2064\ufeff"
_WORD: Final = re.compile(rf"[^\W_](?:[^\W_]|[{_UNSEEN}]){{0,63}}")
_DROPPED: Final = re.compile(f"[{_UNSEEN}]+")
_SAID: Final = re.compile(r"\"[^\"\n]{1,500}\"|“[^”\n]{1,500}”|«[^»\n]{1,500}»|„[^“”\n]{1,500}[“”]")
_LONGEST_WORD: Final = 64


@dataclass(frozen=True, slots=True)
class _Instructions:
    """All runs of words that matter, by their length."""

    beginnings: frozenset[str]
    """As long as what comes before a suspect word."""
    suspects: frozenset[str]
    runs: tuple[tuple[int, frozenset[str]], ...]


class LeakGuard:
    """Ends an answer that comes in pieces when it begins to repeat the instructions of its setup."""

    def __init__(self, setup: Setup, known: Iterable[str]) -> None:
        """`known` are the texts that the reader has anyway."""
        # What the reader wrote may be read; and what is the same for all who ask is remembered once.
        self._instructions = _instructions(replace(setup, wishes="", temperature=None, max_output_tokens=None))
        self._known = known
        self._known_words: str | None = None
        self._text = ""
        """From the first character on that still matters: what is not shown, or the beginning of a word."""
        self._shown = 0
        """Characters of `_text` that were shown."""
        self._read = 0
        """Characters of `_text` whose words were compared."""
        self._words: list[str] = []
        """The last ones, as many as a run has at most."""
        self._starts: list[int] = []
        """Where the words in a row begin in `_text`, which nothing is shown of."""
        self.is_shut = False
        """Whether the answer has ended."""

    def feed(self, piece: str) -> str:
        """Return what of the text so far can be shown and was not yet."""
        return self._pass(piece, is_over=False)

    def finish(self) -> str:
        """Return what still waited: the text is over."""
        return self._pass("", is_over=True)

    def _pass(self, piece: str, *, is_over: bool) -> str:
        if self.is_shut:
            return ""
        self._text += piece
        unfinished = len(self._text)
        for word in _WORD.finditer(self._text, self._read):
            if word.end() == len(self._text) and word.end() - word.start() < _LONGEST_WORD and not is_over:
                unfinished = word.start()
                break
            self._read = word.end()
            if self._is_leaked(_folded(word[0]), word.start()):
                self.is_shut = True
                return self._text[self._shown : max(self._shown, self._starts[0])]
        else:
            self._read = len(self._text)
        upto = len(self._text)
        if not is_over and self._starts:
            upto = self._starts[0]
        elif not is_over and " ".join(self._words[1 - _SUSPECT :]) in self._instructions.beginnings:
            upto = unfinished
        shown = self._text[self._shown : upto]
        self._forget(min(upto, unfinished), upto)
        return shown

    def _is_leaked(self, word: str, start: int) -> bool:
        """Take a word, and tell whether it completes a run that the reader has from nowhere else."""
        self._words = [*self._words[1 - RUN :], word]
        if " ".join(self._words[-_SUSPECT:]) not in self._instructions.suspects:
            self._starts.clear()
            return False
        self._starts = [*self._starts[2 - RUN :], start]
        for length, runs in self._instructions.runs:
            run = " ".join(self._words[-length:])
            if run in runs and not self._is_known(run):
                return True
        return False

    def _is_known(self, run: str) -> bool:
        if self._known_words is None:
            self._known_words = " " + " \n ".join(" ".join(words_of(text)) for text in self._known) + " "
        return f" {run} " in self._known_words

    def _forget(self, until: int, shown: int) -> None:
        self._text = self._text[until:]
        self._shown = shown - until
        self._read = max(0, self._read - until)
        self._starts = [start - until for start in self._starts]


def words_of(text: str) -> list[str]:
    """Return the words of a text as they are compared."""
    return [_folded(word) for word in _WORD.findall(text)]


def repeats(text: str, instructions: str) -> bool:
    """Tell whether a short text is part of instructions, at least as many words of it as make a suspicion."""
    said = words_of(text)
    return len(said) >= _SUSPECT and f" {' '.join(said)} " in f" {' '.join(words_of(instructions))} "


def _folded(word: str) -> str:
    if word.isascii():
        return word.lower()
    return unicodedata.normalize("NFKC", _DROPPED.sub("", word)).casefold()


@lru_cache(maxsize=256)
def _instructions(setup: Setup) -> _Instructions:
    text = rules(setup)
    if setup.nothing_found:
        text = text.replace(one_line(setup.nothing_found), "\n\0\n")
    parts = [words_of(part) for part in _SAID.sub("\0", text).split("\0")]
    own = [words_of(part) for part in _SAID.sub("\0", setup.instructions).split("\0")]
    short = {len(words) for words in own if _LEAST <= len(words) < RUN}
    return _Instructions(
        _runs(parts, _SUSPECT - 1),
        _runs(parts, _SUSPECT),
        ((RUN, _runs(parts, RUN)), *((length, _runs(own, length, whole=True)) for length in sorted(short))),
    )


def _runs(parts: Sequence[Sequence[str]], length: int, *, whole: bool = False) -> frozenset[str]:
    """Return all runs of a length, or the parts that have it as a whole."""
    return frozenset(
        " ".join(words[start : start + length])
        for words in parts
        for start in range(len(words) - length + 1)
        if not whole or len(words) == length
    )
