"""Addresses in an answer: of one that does not stand in its sources, to the last letter, only the host is shown.

An address that a model makes up can carry what it has read to whoever owns the host: a question in a query, for
example. One that stands in a document says nothing of the reader. What is shown instead, `[link removed:
example[.]org]`, is no address itself.

What is looked for is whatever a program that makes links of plain text might take for an address: a scheme with its
slashes, `www.`, addresses of mail, and a path behind a name of a host, each also in look-alikes that become the same
when a text is normalized. A name of a host alone, as in "example.org", stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_UNSEEN: Final = "[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]{0,4}"
_COLON: Final = "(?:[:\uff1a\u2236\ua789\ufe55\ufe13]|%3a)"
_SLASH: Final = "(?:[/\uff0f\u2044\u2215\u29f8\u2571]|%2f)"
_ANY_SLASH: Final = r"(?:[/\\\uff0f\uff3c\u2044\u2215\u29f8\u2571]|%2f|%5c)"
_SCHEMES: Final = ("https", "http", "hxxps", "hxxp", "ftps", "ftp", "mailto", "wss", "ws", "file")
_IGNORED: Final = re.IGNORECASE

_MARK: Final = re.compile(r"(?<!\w)www\.(?=\w)|[:\uff1a\u2236\ua789\ufe55\ufe13@/?#]|%3a", _IGNORED)
"""What stands in every address; only there is looked closer."""
_BEGINNINGS: Final = {word[:length] for word in (*_SCHEMES, "www.") for length in range(1, len(word) + 1)}
_BEGINNING: Final = re.compile(
    rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(_BEGINNINGS)))}){_UNSEEN}(?:%3?)?\Z|%3?\Z", _IGNORED
)
"""The end of a text that may be the first letters of an address."""
_LONGEST_BEGINNING: Final = 16
_SCHEME_BEFORE: Final = re.compile(rf"(?<!\w)(?:{'|'.join(_SCHEMES)}){_UNSEEN}\Z", _IGNORED)
_AFTER_SCHEME: Final = re.compile(rf"{_COLON}{_UNSEEN}(?:{_ANY_SLASH}|\w)", _IGNORED)
_AFTER_ANY_SCHEME: Final = re.compile(rf"{_COLON}{_UNSEEN}{_SLASH}{_UNSEEN}{_SLASH}", _IGNORED)
_UNFINISHED_SCHEME: Final = re.compile(rf"{_COLON}{_UNSEEN}(?:{_ANY_SLASH}{_UNSEEN})?(?:%[25]?)?\Z", _IGNORED)
_LONGEST_NAME: Final = 64
_NAME_BEFORE: Final = re.compile(r"[\w.+%-]{1,64}\Z")
_MAIL_HOST: Final = re.compile(r"@[\w-]+(?:\.[\w-]+)+")
_UNFINISHED_MAIL: Final = re.compile(r"@[\w.-]{0,255}\Z")
_HOST_BEFORE: Final = re.compile(
    r"(?:[\w-]{1,63}\.){1,8}(?!js\b)(?:[^\W\d_]{2,24}|xn--[a-z0-9-]{2,59})(?::\d{1,5})?\Z", _IGNORED
)
_PATH: Final = re.compile(r"[/?#]{1,8}[\w%=~.&+-]")
_UNFINISHED_PATH: Final = re.compile(r"[/?#]{1,8}\Z")
_END: Final = re.compile(r"[ \t\n\r\v\f<]")
"""Where every reader of plain text ends an address."""
_MAY_END: Final = re.compile("[\\s\"'()\\[\\]{}|`*«»“”„‘’،؛؟。、\u2066-\u2069]")
"""Where some do: what follows is moved off."""
_TRAILING: Final = ".,;:!?'\"()[]{}*_~`|«»“”„‘’،؛؟…。、"
_BEHIND: Final = rf"(?=[{re.escape(_TRAILING)}]*(?:{_MAY_END.pattern}|[<>]|\Z))"
_AUTHORITY: Final = re.compile(
    rf"(?:(?:(?:{'|'.join(_SCHEMES)}){_UNSEEN})?{_COLON}(?:{_UNSEEN}{_ANY_SLASH})*)?"
    r"(?:[^/\\?#\uff0f\uff3c\u2044\u2215]*@)?(?P<host>[^/\\?#:\uff0f\uff3c\u2044\u2215]*)",
    _IGNORED,
)
_NOT_OF_HOST: Final = re.compile(r"[^\w.-]+")
_LONGEST: Final = 2_048
"""Characters of an address that is looked for in the sources; of a longer one nothing is shown."""
_LONGEST_HOST: Final = 80
_CONTEXT: Final = 256
"""Characters before a mark that tell what it means."""


@dataclass(frozen=True, slots=True)
class _Beginning:
    """Where an address begins that is shown or not, and what of it stands before that."""

    start: int
    name: str
    is_certain: bool
    """Else more of the text must come first."""


def _path_at(text: str, at: int, before: str) -> _Beginning | None:
    """Return the beginning of a path behind the name of a host."""
    host = _HOST_BEFORE.search(before) if before[-1:].isalnum() else None
    is_certain = _PATH.match(text, at) is not None
    if host is None or not (is_certain or _UNFINISHED_PATH.match(text, at)):
        return None
    return _Beginning(at, host[0], is_certain)


def _scheme_at(text: str, at: int, before: str) -> _Beginning | None:
    """Return the beginning of an address at the colon behind its scheme, or at `www.`."""
    if text[at] in "wW":
        return _Beginning(at, "", is_certain=True)
    scheme = _SCHEME_BEFORE.search(before[-_LONGEST_BEGINNING:])
    is_certain = (_AFTER_SCHEME if scheme else _AFTER_ANY_SCHEME).match(text, at) is not None
    if not is_certain and not _UNFINISHED_SCHEME.match(text, at):
        return None
    if scheme:
        return _Beginning(at - len(scheme[0]), "", is_certain)
    name = _NAME_BEFORE.search(before[-_LONGEST_NAME:]) if is_certain else None
    return _Beginning(at, name[0] if name else "", is_certain)


class Addresses:
    """Takes addresses out of a text that comes in pieces, but for those that stand in `sources`."""

    def __init__(self, sources: Iterable[str], removed: str) -> None:
        """`removed` says in the reader's language that there was an address; empty, nothing is shown in its place."""
        self._sources = sources
        self._text_of_sources: str | None = None
        self._removed = removed
        self._before = ""
        """The end of what was looked at."""
        self._waiting = ""
        self._is_within = False
        """Whether the rest of an address that is too long is still coming."""

    def feed(self, piece: str) -> str:
        """Return what of the text so far can be shown and was not yet."""
        return self._read(piece, is_over=False)

    def finish(self) -> str:
        """Return what still waited: the text is over."""
        return self._read("", is_over=True)

    def _read(self, piece: str, *, is_over: bool) -> str:
        begin = len(self._before)
        text = self._before + self._waiting + piece
        shown: list[str] = []
        if self._is_within:
            end = _END.search(text, begin)
            begin = end.start() if end else len(text)
            self._is_within = end is None
        at = begin
        while (mark := _MARK.search(text, at)) is not None:
            found = self._address_at(text, begin, mark.start(), is_over=is_over)
            if found is None:
                at = mark.end()
                continue
            start, stop, instead = found
            shown.append(text[begin:start])
            if stop is None:
                return self._keep(text, start, shown)
            shown.append(instead)
            begin = at = stop
            if self._is_within:
                break
        else:
            undecided = None if is_over else _BEGINNING.search(text, max(begin, len(text) - _LONGEST_BEGINNING))
            end_at = undecided.start() if undecided else len(text)
            shown.append(text[begin:end_at])
            return self._keep(text, end_at, shown)
        return self._keep(text, len(text), shown)

    def _keep(self, text: str, waiting_from: int, shown: list[str]) -> str:
        self._before = text[max(0, waiting_from - _CONTEXT) : waiting_from]
        self._waiting = text[waiting_from:]
        return "".join(shown)

    def _address_at(self, text: str, begin: int, at: int, *, is_over: bool) -> tuple[int, int | None, str] | None:
        """Return from where to where an address goes and what is shown for it; None when there is none at a mark.

        It goes to None when more of the text must come first.
        """
        before = text[max(0, at - _CONTEXT) : at]
        if text[at] == "@":
            return self._mail_at(text, at, before, is_over=is_over)
        beginning = _path_at(text, at, before) if text[at] in "/?#" else _scheme_at(text, at, before)
        if beginning is None or (not beginning.is_certain and is_over):
            return None
        start, name = max(begin, beginning.start), beginning.name
        end = _END.search(text, at)
        stop = end.start() if end else len(text)
        if not beginning.is_certain:
            return start, None, ""
        if stop - start > _LONGEST:
            self._is_within = end is None
            return start, stop, self._instead(text[start : start + _LONGEST])
        if end is None and not is_over:
            return start, None, ""
        return start, *self._shown(text[start:stop], name, stop)

    def _mail_at(self, text: str, at: int, before: str, *, is_over: bool) -> tuple[int, int | None, str] | None:
        name = _NAME_BEFORE.search(before[-_LONGEST_NAME:])
        if name is not None and not is_over and _UNFINISHED_MAIL.match(text, at):
            return at, None, ""
        mail = _MAIL_HOST.match(text, at)
        if name is None or mail is None:
            return None
        is_known = self._stands_in_sources(name[0] + mail[0])
        return at, mail.end(), mail[0] if is_known else self._instead(mail[0])

    def _shown(self, run: str, name: str, stop: int) -> tuple[int, str]:
        """Return where an address ends and what is shown for it; `name` of it stands before the run."""
        address = run.rstrip(_TRAILING)
        tail = run[len(address) :]
        if self._stands_in_sources(name + address):
            return stop, run
        may_end = _MAY_END.search(address)
        if may_end and may_end.start() > 0 and self._stands_in_sources(name + address[: may_end.start()]):
            return stop - len(run) + may_end.start(), address[: may_end.start()] + " "
        return stop, self._instead(address) + (tail if self._removed else "")

    def _stands_in_sources(self, address: str) -> bool:
        if self._text_of_sources is None:
            self._text_of_sources = "\n".join(self._sources)
        if address not in self._text_of_sources:
            return False
        return re.search(rf"(?<![\w.@-]){re.escape(address)}{_BEHIND}", self._text_of_sources) is not None

    def _instead(self, address: str) -> str:
        if not self._removed:
            return " "
        authority = _AUTHORITY.match(address)
        host = authority["host"] if authority else ""
        host = _NOT_OF_HOST.sub("", host)[:_LONGEST_HOST].strip(".").replace(".", "[.]")
        return f"[{self._removed}: {host}]" if host else f"[{self._removed}]"


def without_addresses(text: str) -> str:
    """Return a whole text with a space in place of every address."""
    addresses = Addresses((), "")
    return addresses.feed(text) + addresses.finish()
