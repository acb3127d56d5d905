"""Written by scripts/write_blocking.py from documents.py: `make openapi` writes it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.blocking.runtime import Blocking
from docuchat_client.bodies import Progress
from docuchat_client.models import DeletionReceipt, Document, Page, PageText, Passage, SearchResult


class BlockingDocuments(Blocking):
    """The part of a client that reads documents."""

    _client: AsyncDocuChat

    def documents(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: str | None = None,
        q: str | None = None,
        collection_id: UUID | str | None = None,
    ) -> Page[Document]:
        """One page of the documents, newest first."""
        return self._loop.run(
            self._client.documents(limit=limit, cursor=cursor, status=status, q=q, collection_id=collection_id)
        )

    def all_documents(self, *, status: str | None = None, q: str | None = None) -> Iterator[Document]:
        """Every document, page by page."""
        return self._loop.iterate(self._client.all_documents(status=status, q=q))

    def document(self, document_id: UUID | str) -> Document:
        """One document."""
        return self._loop.run(self._client.document(document_id))

    def watch(self, document_id: UUID | str, *, poll_seconds: float = 1.0) -> Iterator[Document]:
        """The document at each change until it is ready or failed: pushed, or asked for when pushing does not work."""
        return self._loop.iterate(self._client.watch(document_id, poll_seconds=poll_seconds))

    def wait_until_settled(
        self,
        document_id: UUID | str,
        *,
        timeout: float | None = None,
        on_change: Callable[[Document], None] | None = None,
    ) -> Document:
        """The document once it is ready or failed; ConnectionFailed with code `timeout` after `timeout` seconds."""
        return self._loop.run(self._client.wait_until_settled(document_id, timeout=timeout, on_change=on_change))

    def download(self, document_id: UUID | str, target: Path | BinaryIO, on_progress: Progress | None = None) -> int:
        """Write the original file to `target`; returns its size. A file that fails halfway is removed."""
        return self._loop.run(self._client.download(document_id, target, on_progress))

    def document_text(self, document_id: UUID | str, page: int = 1) -> PageText:
        """The text of a page, as it was read; pages count from 1."""
        return self._loop.run(self._client.document_text(document_id, page))

    def passage(self, chunk_id: UUID | str, *, neighbours: int | None = None) -> Passage:
        """What a citation points at, and the `neighbours` passages before and after it."""
        return self._loop.run(self._client.passage(chunk_id, neighbours=neighbours))

    def retry_document(self, document_id: UUID | str) -> Document:
        """Have a failed document ingested again."""
        return self._loop.run(self._client.retry_document(document_id))

    def delete_document(self, document_id: UUID | str) -> DeletionReceipt:
        """Delete the document, its chunks and its file; the receipt says what went."""
        return self._loop.run(self._client.delete_document(document_id))

    def search(
        self, query: str, *, limit: int | None = None, document_id: UUID | str | None = None
    ) -> list[SearchResult]:
        """What the model would be given for this question, best first."""
        return self._loop.run(self._client.search(query, limit=limit, document_id=document_id))
