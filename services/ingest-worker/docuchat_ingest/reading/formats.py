"""The formats that can be read: a row for each, and what its reader gives."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

READERS = {"application/pdf": "docuchat_ingest.reading.pdf"}
"""Media type → module with `open_document(path, max_pages)`, a context manager that gives an `OpenDocument`. The child
process imports them ahead, so that the first document does not wait.
"""


class Problem(StrEnum):
    """Why a page, or a part of it, could not be read."""

    PICTURE = "picture"
    """Its ink is a picture, beside which its text is nothing."""
    GARBLED = "garbled"
    """Its letters stand for none: the text is dropped."""


@dataclass(frozen=True, slots=True)
class PageText:
    """A page as it was read."""

    text: str
    problem: Problem | None = None


class OpenDocument(Protocol):
    """What a reader gives: the number of pages, and the pages in order, read as they are asked for."""

    page_count: int

    def pages(self) -> Iterator[PageText]: ...
