"""The release of an answer: what a model writes on its way to who reads it, as it comes.

Everything passes the steps in this order: made harmless, ended where it repeats its instructions, freed of addresses
that stand in no source, marked where it rests on no document, and, where citations are required, kept back until the
first one holds. What was shown once is never taken back. Whatever a document told the model to write, no more leaves.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from docuchat_chat.answers.addresses import Addresses
from docuchat_chat.answers.citations import cited_numbers
from docuchat_chat.answers.domain import Source
from docuchat_chat.answers.leaks import LeakGuard
from docuchat_chat.answers.notices import cut, link_removed, own_knowledge
from docuchat_chat.answers.sentences import sentences
from docuchat_chat.answers.setup import Setup
from docuchat_chat.answers.text import LEGEND, MARK
from docuchat_common.defusing import Defuser

_LONGEST_MARKER = 40
"""Characters of the longest marker of citations that is looked for across two pieces."""
_STOP = r"[.!?؟。！？…۔]+[\"'»”’)*_]*"
_MARKERS = r"(?:[ \t]*[\[【]\d[\d\s,،;]*[\]】])*+"
_END = re.compile(rf"(?P<stop>{_STOP}{_MARKERS})(?P<space>[ \t]+)(?=\S)|(?P<line>)(?=[ \t]*\n)")
"""Where a sentence may end: after its full stop and the citations behind it, or with its line."""
_OPEN_MARKER = re.compile(r"[\[【][\d\s,،;]*\Z")
_UNDECIDED = re.compile(rf"(?:{_STOP}{_MARKERS}[ \t]*(?:[\[【][\d\s,،;]*)?|[ \t]+)\Z")
_WORD = re.compile(r"[^\W\d_]{2,}")
_ABBREVIATED = re.compile(r"(?:^|[\s(])(?:[^\W\d_]|\d{1,3}|etc|vs|Dr|Prof|Mr|Mrs|St|No|Nr|bzw|ca|vgl|usw)\.\Z")
_LEAST_WORDS = 3


class Release:
    """Lets the text of one answer out, piece by piece."""

    def __init__(self, setup: Setup, sources: Sequence[Source], question: str, *, has_own_knowledge: bool) -> None:
        texts = [part for s in sources for part in (s.passage.title, s.passage.filename, s.passage.text)]
        self._defuser = Defuser()
        self._guard = LeakGuard(setup, (*texts, question))
        self._addresses = Addresses(texts, link_removed(setup, question))
        self._cut = cut(setup, question)
        self._has_text = False
        self._is_over = False
        numbers = frozenset(source.number for source in sources)
        is_marked = setup.policy.own_knowledge and has_own_knowledge
        self._marks = _Marks(numbers, own_knowledge(setup, question)) if is_marked else None
        self._numbers = numbers if setup.policy.citations_required else None
        self._kept_back = ""

    @property
    def is_shut(self) -> bool:
        """Whether nothing may be shown yet: citations are required, and none has come that holds."""
        return self._numbers is not None

    @property
    def is_cut(self) -> bool:
        """Whether the answer has ended before its time: it repeats its instructions."""
        return self._guard.is_shut

    def feed(self, piece: str) -> str:
        """Return what can be shown now and was not yet."""
        return "" if self._is_over else self._pass(self._guard.feed(self._defuser.feed(piece)))

    def finish(self) -> str:
        """Return what is left to show: the text is over."""
        if self._is_over:
            return ""
        self._is_over = True
        return self._pass(self._guard.feed(self._defuser.finish()) + self._guard.finish())

    def _pass(self, text: str) -> str:
        self._is_over = self._is_over or self.is_cut
        text = self._addresses.feed(text)
        if self._is_over:
            text += self._addresses.finish()
        self._has_text = self._has_text or bool(text.strip())
        if self._marks is not None:
            text = self._marks.feed(text)
        said = ("\n\n" if self._has_text else "") + self._cut if self.is_cut else ""
        if self._is_over:
            text += self._marks.finish(said) if self._marks is not None else said
        return self._let(text)

    def _let(self, text: str) -> str:
        if self._numbers is None:
            return text
        looked_at = max(0, len(self._kept_back) - _LONGEST_MARKER)
        self._kept_back += text
        if self._numbers.isdisjoint(cited_numbers(self._kept_back[looked_at:])):
            return ""
        self._numbers = None
        return self._kept_back


class _Marks:
    """Ends each sentence that cites no source with MARK, and the text with what that means.

    Headings, questions, and lines that lead to what follows say nothing that needs a source; nor do a few words.
    """

    def __init__(self, numbers: Collection[int], meaning: str) -> None:
        self._numbers = numbers
        self._meaning = meaning
        self._waiting = ""
        """What may still turn out to end the sentence."""
        self._sentence = ""
        self._in_code = False
        self._has_marked = False

    def feed(self, piece: str) -> str:
        """Return what of the text so far can be shown and was not yet."""
        text = self._waiting + piece.replace(MARK, "‡")
        shown = ""
        while (end := self._next_end(text)) is not None:
            before, text = text[: end.end("stop") if end["stop"] else end.start()], text[end.end() :]
            shown += self._close(before) + (end["space"] or "")
            if not end["stop"]:
                line = re.match(r"[ \t]*\n\s*", text)
                assert line is not None  # the pattern ends before one
                shown, text = shown + line.group(), text[line.end() :]
        undecided = _UNDECIDED.search(text)
        cut = undecided.start() if undecided else len(text)
        self._waiting = text[cut:]
        self._sentence += text[:cut]
        return shown + text[:cut]

    def finish(self, said: str) -> str:
        """Return what still waited, what is `said` behind it, and the meaning of the marks if there are any."""
        rest, self._waiting = self._waiting, ""
        body = rest.rstrip()
        text = self._close(body) + rest[len(body) :] + said
        return text + f"{LEGEND}{self._meaning}" if self._has_marked else text

    def _next_end(self, text: str) -> re.Match[str] | None:
        for end in _END.finditer(text):
            if not end["stop"]:
                return end
            if _OPEN_MARKER.match(text, end.end()):
                return None
            before = self._sentence + text[: end.end("stop")]
            if not text[end.end()].islower() and not _ABBREVIATED.search(before):
                return end
        return None

    def _close(self, rest: str) -> str:
        """Return the rest of a sentence with the mark that it needs; the next one begins."""
        sentence, self._sentence = self._sentence + rest, ""
        line = sentence.strip()
        if line.startswith("```"):
            self._in_code = not self._in_code
        elif not self._in_code and self._needs_source(line):
            self._has_marked = True
            return rest + MARK
        return rest

    def _needs_source(self, line: str) -> bool:
        if line.startswith(("#", "|")) or line.rstrip("*_ ")[-1:] in {":", "?", "؟", "？"}:
            return False
        return len(_WORD.findall(line)) >= _LEAST_WORDS and self._numbers_of(line).isdisjoint(self._numbers)

    @staticmethod
    def _numbers_of(line: str) -> frozenset[int]:
        return frozenset(cited_numbers(line))


def marked_parts(text: str) -> tuple[str, ...]:
    """Return the sentences of an answer that rest on no document."""
    body = text.rpartition(LEGEND)[0]
    return tuple(sentences(part)[-1] for part in body.split(MARK)[:-1] if part.strip())
