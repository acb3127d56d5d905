"""What models and documents say, made harmless to whoever renders it: titles, names, texts, quotes and answers alike.

Nothing that a page would load, run or be misled by leaves here: images and links become text that shows where they
lead, however CommonMark lets them be spelt; tags become text, as do the commands of TeX that link or load, and
references to characters that an address is made of; control characters that move the cursor or turn the direction of
what follows are dropped, and a page break is a line feed. An address in plain sight stays: a renderer may link it, but
never under other words. Letters of every script, joiners and the isolates with which right-to-left quotes are set stay.
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
_NO_DEFINITION = (
    rf"(?::[ \t\n]{{0,8}}{_SCHEME}{{0,32}}"
    # the first other character tells that there is no address; > may be the mark of a quoted line, and not the link's
    rf"(?:[^A-Za-z0-9+.\-:&\\<>/\x00-\x20{_UNSEEN}]|(?<={_SCHEME})[ \t\n]|\Z))"
)
_REFERENCE = (
    r"#|(?:colon|sol|period|commat|quest|excl|num|percnt|equals|bsol|lpar|rpar|lsqb|rsqb|lbrack|rbrack|Tab|NewLine);"
)
_COMMAND = r"(?:href|url|includegraphics|html[a-z]{0,8})\*?\s{0,4}[\[{]"
_ACTIVE = re.compile(
    # an image; a tag, comment or autolink; a link; the destination of a definition
    rf"!(?=\[)|<(?=[A-Za-z/!?])|\](?=\()|\](?=:)(?!{_NO_DEFINITION})|&(?={_REFERENCE})|\\(?={_COMMAND})",
    re.IGNORECASE | re.ASCII,
)
_MAY_GO_ON = r"<!?|&[A-Za-z]{0,7}|\\(?:[A-Za-z]{1,15}\*?\s{0,4})?"
_UNDECIDED = re.compile(rf"(?:\](?::[ \t\n]{{0,8}}{_SCHEME}{{0,32}})?(?:{_MAY_GO_ON})?|{_MAY_GO_ON}|!)\Z", re.ASCII)
_APART = r"\g<0> "
"""A space where it ends the meaning: `! [`, `< img`, `] (javascript:`, `& #58;`."""
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
