"""A chat as Markdown: citations are footnotes, and no reader of it loads or runs anything.

Questions and names are plain text, so what has a meaning in Markdown is escaped in them; answers are Markdown, defused.
Names and quotes stand in isolates, and a line of right-to-left script that begins with another begins with a mark, so
that both scripts are in their order wherever the direction of a paragraph goes by its first strong letter (UAX #9).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from docuchat_chat.answers.citations import MARKER, NUMBER
from docuchat_chat.answers.domain import Citation
from docuchat_chat.answers.text import (
    FIRST_STRONG_ISOLATE,
    POP_ISOLATE,
    Language,
    is_mostly_right_to_left,
    is_right_to_left,
    language_of,
)
from docuchat_chat.conversations.domain import Message
from docuchat_common.defusing import defuse
from docuchat_common.text import one_line

_RIGHT_TO_LEFT_MARK: Final = "\u200f"
_MEANT: Final = re.compile(r"[\\`*_\[\]<>|~&$]|^[ \t]*[#=:+-]", re.MULTILINE)
_BULLETS: Final = re.compile(r"[ \t]*(?:(?:[-*+>]|#{1,6}|\d{1,9}[.)])[ \t]+)*")
_FENCE: Final = re.compile(r"^[ \t]{0,3}(`{3,}|~{3,})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Words:
    question: str
    answer: str
    page: str
    pages: str
    gone: str
    untitled: str


_WORDS: Final[dict[Language, _Words]] = {
    "en": _Words("Question", "Answer", "page", "pages", "no longer available", "Chat"),
    "fa": _Words("پرسش", "پاسخ", "صفحه", "صفحه‌های", "دیگر در دسترس نیست", "گفتگو"),
    "de": _Words("Frage", "Antwort", "Seite", "Seiten", "nicht mehr verfügbar", "Chat"),
    "ar": _Words("سؤال", "جواب", "صفحة", "الصفحات", "لم يعد متاحًا", "محادثة"),
}


class MarkdownTranscript:
    """Writes one file, message by message."""

    def __init__(self, title: str | None, first: Sequence[Message]) -> None:
        """The first question gives the language of what is said about the messages."""
        question = next((message.content for message in first if message.role == "user"), title or "")
        self._words = _WORDS[language_of(question)]
        self._title = title
        self._footnotes = 0

    def head(self) -> str:
        """Return the beginning of the file."""
        return f"# {_plain(one_line(self._title or self._words.untitled))}\n"

    def add(self, message: Message) -> str:
        """Return a message, with its footnotes behind it."""
        words = self._words
        moment = f"{message.created_at:%Y-%m-%d %H:%M} UTC"
        who = words.question if message.role == "user" else words.answer
        head = f"\n## {who} — {_isolated(moment)}\n\n"
        if message.role == "user":
            return head + _directed(_plain(message.content)) + "\n"
        numbers = {}
        for citation in message.citations:
            self._footnotes += 1
            numbers[citation.number] = self._footnotes
        notes = "".join(f"[^{numbers[citation.number]}]: {self._note(citation)}\n" for citation in message.citations)
        return head + _directed(_answer(message.content, numbers)) + "\n" + (f"\n{notes}" if notes else "")

    def _note(self, citation: Citation) -> str:
        if citation.deleted:
            return self._words.gone
        where = ""
        if citation.page is not None:
            where = f", {self._words.page} {citation.page}"
            if citation.page_to not in (None, citation.page):
                where = f", {self._words.pages} {citation.page}-{citation.page_to}"
        name = _isolated(_plain(one_line(citation.title or citation.filename)))
        return f"{name}{where}: “{_isolated(_plain(one_line(citation.quote)))}”"


def _plain(text: str) -> str:
    return _MEANT.sub(lambda found: found[0][:-1] + "\\" + found[0][-1], defuse(text).strip())


def _answer(text: str, footnotes: dict[int, int]) -> str:
    """Return an answer with the numbers that hold as footnotes, and none of its own; a code block is closed."""
    text = defuse(text).strip().replace("[^", "\\[^")

    def footnote(marker: re.Match[str]) -> str:
        numbers = [int(number) for number in NUMBER.findall(marker[1])]
        if not all(number in footnotes for number in numbers):
            return marker[0]
        # behind it a colon would begin the text of a footnote
        colon = "\\" if text[marker.end() : marker.end() + 1] == ":" else ""
        return "".join(f"[^{footnotes[number]}]" for number in numbers) + colon

    fences = _FENCE.findall(text)
    return MARKER.sub(footnote, text) + (f"\n{fences[-1]}" if len(fences) % 2 else "")


def _directed(text: str) -> str:
    return "\n".join(map(_directed_line, text.split("\n")))


def _directed_line(line: str) -> str:
    if is_right_to_left(line) or not is_mostly_right_to_left(line):
        return line
    bullets = _BULLETS.match(line)
    at = bullets.end() if bullets else 0
    return line[:at] + _RIGHT_TO_LEFT_MARK + line[at:]


def _isolated(text: str) -> str:
    return f"{FIRST_STRONG_ISOLATE}{text}{POP_ISOLATE}"
