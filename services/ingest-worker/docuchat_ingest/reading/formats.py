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


@dataclass(frozen=True, slots=True)
class Heading:
    """An entry of the document's outline: the page it leads to, from 1, and its title below those above it."""

    page: int
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a document says of itself; empty where it says nothing."""

    title: str = ""
    author: str = ""
    labels: tuple[str, ...] = ()
    """What is printed on each page as its number; empty when that is its place."""
    headings: tuple[Heading, ...] = ()
    """In the order of the outline."""
    attachments: tuple[str, ...] = ()
    """Names of files within the file, which are not read."""
    complete: bool = True
    """Whether all of it could be read."""


class OpenDocument(Protocol):
    """What a reader gives: the number of pages, and the pages in order, read as they are asked for."""

    page_count: int
    facts: Facts

    def pages(self) -> Iterator[PageText]: ...
