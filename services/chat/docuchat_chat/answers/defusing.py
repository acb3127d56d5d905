"""Model output and document text made harmless to whoever renders it.

Nothing that a page would load, run or be misled by leaves here: images become links, tags and script addresses become
text, and control characters that move the cursor or turn the direction of what follows are dropped. Letters of every
script, joiners and the isolates with which right-to-left quotes are set stay.
"""

from __future__ import annotations

import re

_DROPPED = re.compile(
    # control characters but tab and line feed; direction embeddings, overrides and forced isolates; invisible tags
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066\u2067\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_COLONS = (":", "&colon;", "&#58;", "&#x3a;")
_ADDRESSES = tuple(
    start + colon + end
    for colon in _COLONS
    for start, ends in (("javascript", ("",)), ("vbscript", ("",)), ("data", ("text/", "image/", "application/")))
    for end in ends
)
_ACTIVE = re.compile(
    r"(?P<image>!)(?=\[)|(?P<tag><)(?=[A-Za-z/!?])|(?P<scheme>" + "|".join(map(re.escape, _ADDRESSES)) + ")",
    re.IGNORECASE,
)
_BEGINNINGS = frozenset(pattern[:length] for pattern in ("![", "<a", *_ADDRESSES) for length in range(1, len(pattern)))
_LONGEST = max(map(len, _BEGINNINGS))
_FIRST = frozenset("!<jvdJVD")


def defuse(text: str) -> str:
    """Return a whole text made harmless."""
    return _ACTIVE.sub(_apart, _DROPPED.sub("", text))


def _apart(found: re.Match[str]) -> str:
    """Put a space where it ends the meaning: `! [`, `< img`, `javascript :`."""
    matched = found[0]
    if found["scheme"] is None:
        return matched + " "
    at = next(i for i, character in enumerate(matched) if character in ":&")
    return matched[:at] + " " + matched[at:]


class Defuser:
    """As `defuse`, for a text that comes in pieces: what might become active with the next piece waits for it."""

    def __init__(self) -> None:
        self._waiting = ""

    def feed(self, piece: str) -> str:
        """Return what of the text so far can be shown and was not yet."""
        text = self._waiting + _DROPPED.sub("", piece)
        held = _beginning_at_end(text)
        self._waiting = text[len(text) - held :]
        return _ACTIVE.sub(_apart, text[: len(text) - held])

    def finish(self) -> str:
        """Return what still waited: the text is over."""
        rest, self._waiting = self._waiting, ""
        return _ACTIVE.sub(_apart, rest)


def _beginning_at_end(text: str) -> int:
    """Return how many of the last characters could be the beginning of something active."""
    tail = text[-_LONGEST:]
    for start, character in enumerate(tail):
        if character in _FIRST and tail[start:].lower() in _BEGINNINGS:
            held = len(tail) - start
            return held + (text[: len(text) - held].endswith("<"))  # what it opens is decided by what follows
    return 0
