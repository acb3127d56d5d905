"""What models and documents say, made harmless to whoever renders it: titles, names, texts, quotes and answers alike.

Nothing that a page would load, run or be misled by leaves here: images become links, tags become text, as do links
that lead neither to http, https or mailto nor to a relative address, however CommonMark lets them be spelt; control
characters that move the cursor or turn the direction of what follows are dropped, and a page break is a line feed.
Letters of every script, joiners and the isolates with which right-to-left quotes are set stay.
https://spec.commonmark.org/0.31.2/#links
"""

from __future__ import annotations

import re

_DROPPED = re.compile(
    # control characters but tab and line feed; direction embeddings, overrides and forced isolates; invisible tags
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066\u2067\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_SCHEME = r"[A-Za-z0-9+.\-]"
"""What a scheme is made of; references and escapes are not, and must not stand where a scheme could."""
_UNSEEN = r"\x85\u00a0\u00ad\u1680\u180e\u2000-\u200f\u2028\u2029\u202f\u205f-\u2064\u3000\ufeff"
"""White space and what has no width: some renderers trim it before they look for the scheme."""
_START = r"[(:][ \t\n]{0,8}"
_HARMLESS = (
    rf"(?:https?:|mailto:|{_SCHEME}{{0,32}}"
    # the first other character tells that there is no scheme; > may be the mark of a quoted line, and not the link's
    rf"(?:[^A-Za-z0-9+.\-:&\\<>\x00-\x20{_UNSEEN}]|(?<={_SCHEME})[ \t\n]|\Z))"
)
_ACTIVE = re.compile(
    # an image; a tag, comment or autolink; the destination of a link or of a reference definition
    rf"!(?=\[)|<(?=[A-Za-z/!?])|\](?=[(:])(?!{_START}{_HARMLESS})",
    re.IGNORECASE | re.ASCII,
)
_UNDECIDED = re.compile(rf"(?:\](?:{_START}{_SCHEME}{{0,32}})?(?:<!?)?|<!?|!)\Z")
_APART = r"\g<0> "
"""A space where it ends the meaning: `! [`, `< img`, `] (javascript:`."""
_LONGEST = 64
"""More than the longest text that is undecided."""


def defuse(text: str) -> str:
    """Return a whole text made harmless."""
    return _ACTIVE.sub(_APART, _plain(text))


def _plain(text: str) -> str:
    return _DROPPED.sub("", text.replace("\f", "\n"))


class Defuser:
    """As `defuse`, for a text that comes in pieces: what might become active with the next piece waits for it."""

    def __init__(self) -> None:
        self._waiting = ""

    def feed(self, piece: str) -> str:
        """Return what of the text so far can be shown and was not yet."""
        text = self._waiting + _plain(piece)
        undecided = _UNDECIDED.search(text, max(0, len(text) - _LONGEST))
        end = undecided.start() if undecided else len(text)
        self._waiting = text[end:]
        return _ACTIVE.sub(_APART, text[:end])

    def finish(self) -> str:
        """Return what still waited: the text is over."""
        rest, self._waiting = self._waiting, ""
        return _ACTIVE.sub(_APART, rest)
