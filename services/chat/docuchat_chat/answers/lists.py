"""Lists in a page's text: a heading, or a sentence that announces one, and the items below it."""

from __future__ import annotations

import re
from collections.abc import Iterator

_MOST_ITEMS = 8
_HEADING_WORDS = 8
_ITEM_LENGTH = 90
_ITEM = re.compile(r"\s*(?:[•◦▪‣●■*–—-]|\(?\d{1,3}[.)]|\(?[a-z][.)])(?=\s)", re.IGNORECASE)
_ENDS = tuple(".!?؟。！？…۔")


def lists(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each heading and the items below it, two at least; the lines of an item are one text."""
    lines = [line.strip() for line in re.split(r"[\n\f]", text) if line.strip()]
    for number, line in enumerate(lines):
        heading = _heading(lines[number - 1] if number else "", line)
        if heading:
            items = _items(lines[number + 1 :])
            if len(items) > 1:
                yield heading, items


def _heading(before: str, line: str) -> str:
    if line.endswith(":"):
        is_whole = line[0].isupper() or not before or before.endswith((*_ENDS, ":")) or _ITEM.match(before)
        return line if is_whole else f"{before} {line}"
    is_short = len(line.split()) <= _HEADING_WORDS and not line.endswith(_ENDS)
    return line if is_short and not _ITEM.match(line) else ""


def _items(lines: list[str]) -> list[str]:
    """Return the items that the lines begin with: marked ones, with what goes on below them, or short lines."""
    are_marked = bool(lines and _ITEM.match(lines[0]))
    items: list[str] = []
    for line in lines:
        is_marked = bool(_ITEM.match(line))
        if are_marked and not is_marked:
            if items[-1].endswith(_ENDS) and len(line) < _ITEM_LENGTH // 2:
                break  # the next heading
            items[-1] += f" {line}"
        elif len(items) == _MOST_ITEMS:
            break
        elif are_marked or (len(line) <= _ITEM_LENGTH and not line.endswith((*_ENDS, ":"))):
            items.append(line)
        else:
            break
    return items
