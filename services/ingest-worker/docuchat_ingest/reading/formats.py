"""The formats that can be read: a row for each, and what its reader gives."""

from collections.abc import Iterator
from typing import Protocol

READERS = {"application/pdf": "docuchat_ingest.reading.pdf"}
"""Media type → module with `open_document(path, max_pages)`, a context manager that gives an `OpenDocument`. The child
process imports them ahead, so that the first document does not wait.
"""


class OpenDocument(Protocol):
    """What a reader gives: the number of pages, and the texts of them in order, made as they are asked for."""

    page_count: int

    def texts(self) -> Iterator[str]: ...
