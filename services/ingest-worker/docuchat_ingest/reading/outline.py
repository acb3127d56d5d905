"""What a PDF says beside its text: labels of its pages, headings, title and author, form values, attachments.

pypdf reads it, within bounds of its own on processor time and memory. What it cannot read is missed and told of; the
document never fails for it.
"""

import logging
import re
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

from pypdf import PdfReader
from pypdf._page_labels import index2label
from pypdf.generic import IndirectObject

from docuchat_ingest.reading.formats import Facts, Heading

MOST_SECONDS = 1.0
_MOST_MEMORY = 192 * 1024 * 1024
_MOST_HEADINGS, _DEEPEST = 2_000, 8
_MOST_ATTACHMENTS, _MOST_WIDGETS, _MOST_NODES = 100, 5_000, 5_000
_LONGEST, _LONGEST_VALUE = 200, 4_000
_PASSWORD_FIELD = 1 << 13
"""ISO 32000-1, table 228."""
_BLANK = re.compile("[\\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


@dataclass(slots=True)
class Findings:
    """What was found until the end, or until a bound."""

    facts: Facts = field(default_factory=Facts)
    form_values: dict[int, list[str]] = field(default_factory=dict)
    """By the page's index: `name: value`."""


def read_facts(path: str, pages: int, seconds: float = MOST_SECONDS) -> Findings:
    """Never raises for what is in the file; `facts.complete` tells whether all was read."""
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    found = Findings()
    alarm = _Alarm()
    previous = signal.signal(signal.SIGPROF, alarm.ring)
    with _memory_bounded():
        try:
            alarm.is_set = True
            signal.setitimer(signal.ITIMER_PROF, seconds, 0.05)  # again: one in a callback of C is swallowed
            is_complete = _try_to_read(path, pages, found)
            alarm.is_set = False
        except _TooSlow:
            alarm.is_set = False
            is_complete = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
    found.facts = replace(found.facts, complete=is_complete)
    return found


def _try_to_read(path: str, pages: int, found: Findings) -> bool:
    for strict in (True, False):  # not strict, pypdf first looks at every object of the file
        found.facts, found.form_values = Facts(), {}
        with suppress(Exception):  # pypdf trips over many a file that PDFium reads
            reader = PdfReader(path, strict=strict)
            if reader.is_encrypted:
                reader.decrypt("")
            _read(reader, pages, found)
            return True
    return False


class _TooSlow(BaseException):
    """Not an Exception: pypdf catches those."""


class _Alarm:
    """Ends what takes too long from within, and nothing that comes after: the last ring may come late."""

    is_set = False

    def ring(self, _number: int, _frame: FrameType | None) -> None:
        if self.is_set:
            raise _TooSlow


@contextmanager
def _memory_bounded() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _address_space() + _MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most if soft == resource.RLIM_INFINITY else min(most, soft), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()


def _read(reader: PdfReader, pages: int, found: Findings) -> None:
    root = reader.root_object
    if about := reader.metadata:
        found.facts = replace(found.facts, title=_clean(about.title), author=_clean(about.author))
    names = _get(root, "/Names")
    attached = islice(_name_tree(_get(names, "/EmbeddedFiles")), _MOST_ATTACHMENTS)
    found.facts = replace(found.facts, attachments=tuple(_clean(name) for name, _ in attached))
    if "/AcroForm" in root:
        _read_forms(reader, found)
    if "/PageLabels" in root:
        # not reader.page_labels: that one loads every page
        labels = tuple(_clean(index2label(reader, index)) for index in range(pages))
        if labels != tuple(str(number) for number in range(1, len(labels) + 1)):
            found.facts = replace(found.facts, labels=labels)
    if first := _get(_get(root, "/Outlines"), "/First"):
        found.facts = replace(found.facts, headings=tuple(_Outline(reader).headings(first)))


def _read_forms(reader: PdfReader, found: Findings) -> None:
    seen = 0
    for index, page in enumerate(reader.pages):
        for reference in _get(page, "/Annots") or ():
            seen += 1
            if seen > _MOST_WIDGETS:
                return
            widget = reference.get_object()
            value = _inherited(widget, "/V")
            secret = int(_inherited(widget, "/Ff") or 0) & _PASSWORD_FIELD
            if widget.get("/Subtype") != "/Widget" or secret or not isinstance(value, str) or value in ("", "/Off"):
                continue
            name = _clean(_inherited(widget, "/TU") or _inherited(widget, "/T"))
            line = f"{name}: {_clean(value, _LONGEST_VALUE).removeprefix('/')}".removeprefix(": ")
            lines = found.form_values.setdefault(index, [])
            if line not in lines:
                lines.append(line)


def _inherited(widget: Any, key: str) -> Any:
    for _ in range(_DEEPEST):
        if key in widget:
            return _get(widget, key)
        widget = _get(widget, "/Parent")
        if not widget:
            return None
    return None


class _Outline:
    """Walks the outline's own objects: pypdf's property resolves every named place of the document, used or not."""

    def __init__(self, reader: PdfReader) -> None:
        self._root = reader.root_object
        self._numbers = _number_pages(self._root)
        self._seen: set[int] = set()

    def headings(self, first: Any, above: tuple[str, ...] = ()) -> Iterator[Heading]:
        """In the outline's order; an entry that leads nowhere still names what is below it."""
        item = first
        while item and id(item) not in self._seen and len(self._seen) < _MOST_HEADINGS:
            self._seen.add(id(item))
            path = (*above, title) if (title := _clean(_get(item, "/Title"))) else above
            page = self._page(_get(item, "/Dest") or _get(_get(item, "/A"), "/D"))
            if page and title:
                yield Heading(page, path)
            if len(path) < _DEEPEST and (below := _get(item, "/First")):
                yield from self.headings(below, path)
            item = _get(item, "/Next")

    def _page(self, place: Any) -> int | None:
        if isinstance(place, str | bytes):
            place = _get(_get(self._root, "/Dests"), str(place)) or _find_name(
                _get(_get(self._root, "/Names"), "/Dests"), _key(place)
            )
        if isinstance(place, dict):
            place = _get(place, "/D")
        if not isinstance(place, list) or not place:
            return None
        target = place[0]
        if isinstance(target, IndirectObject):
            return self._numbers.get(target.idnum)
        return int(target) + 1 if isinstance(target, int) and 0 <= target < len(self._numbers) else None


def _number_pages(root: Any) -> dict[int, int]:
    """Pages from 1 by the number of their object, without loading those that their parent has counted."""
    numbers: dict[int, int] = {}
    waiting, nodes = [root.raw_get("/Pages")], 0
    while waiting and nodes < _MOST_NODES:
        reference = waiting.pop()
        nodes += 1
        node = reference.get_object()
        kids = _get(node, "/Kids")
        leaves = [reference] if kids is None else kids if len(kids) == _get(node, "/Count") else []
        for leaf in leaves:
            numbers[leaf.idnum] = len(numbers) + 1
        if not leaves:
            waiting.extend(reversed(kids))
    return numbers


def _find_name(tree: Any, name: bytes) -> Any:
    return next((value for key, value in _name_tree(tree, name) if _key(key) == name), None)


def _name_tree(tree: Any, only: bytes | None = None) -> Iterator[tuple[Any, Any]]:
    """Names and what they stand for; with `only`, of the leaf that may hold it (ISO 32000-1, 7.9.6)."""
    waiting, nodes = [tree], 0
    while waiting and nodes < _MOST_NODES:
        node = waiting.pop()
        nodes += 1
        if not isinstance(node, dict):
            continue
        limits = _get(node, "/Limits")
        if only is not None and limits and not _key(limits[0]) <= only <= _key(limits[1]):
            continue
        pairs = _get(node, "/Names") or []
        for index in range(0, len(pairs) - 1, 2):
            if only is None or _key(pairs[index]) == only:
                yield pairs[index], pairs[index + 1].get_object()
        waiting.extend(kid.get_object() for kid in reversed(_get(node, "/Kids") or []))


def _get(holder: Any, key: str) -> Any:
    """What stands under the key, references followed; None when it, or the holder, is none."""
    value = holder.get(key) if isinstance(holder, dict) else None
    return None if value is None else value.get_object()


def _key(name: Any) -> bytes:
    return bytes(getattr(name, "original_bytes", None) or str(name).encode("latin-1", "replace"))


def _clean(text: Any, most: int = _LONGEST) -> str:
    return _BLANK.sub(" ", str(text))[:most].strip() if isinstance(text, str) else ""
