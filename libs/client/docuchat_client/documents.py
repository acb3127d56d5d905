"""Documents: their lists, how far each is, their text, and what is found in them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID

import httpx2

from docuchat_client.bodies import Progress, parsed
from docuchat_client.calls import Calls
from docuchat_client.errors import ConnectionFailed, NotFound, RateLimited, ServiceUnavailable, UnexpectedAnswer
from docuchat_client.models import (
    DeletionReceipt,
    Document,
    Page,
    PageText,
    Passage,
    SearchResult,
    SearchResults,
)
from docuchat_client.sse import read_events

_POLL_SECONDS: Final = 1.0
_POLLS_IN_VAIN: Final = 5
_SILENCE_SECONDS: Final = 60.0


class Documents(Calls):
    """The part of a client that reads documents."""

    async def documents(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: str | None = None,
        q: str | None = None,
        collection_id: UUID | str | None = None,
    ) -> Page[Document]:
        """One page of the documents, newest first."""
        collection = None if collection_id is None else str(collection_id)
        params = {"limit": limit, "cursor": cursor, "status": status, "q": q, "collection_id": collection}
        return await self._get(Page[Document], "GET", "/v1/files", params=params)

    async def all_documents(self, *, status: str | None = None, q: str | None = None) -> AsyncIterator[Document]:
        """Every document, page by page."""
        async for document in self._every(Page[Document], "/v1/files", status=status, q=q):
            yield document

    async def document(self, document_id: UUID | str) -> Document:
        """One document."""
        return await self._get(Document, "GET", f"/v1/files/{document_id}")

    async def watch(self, document_id: UUID | str, *, poll_seconds: float = _POLL_SECONDS) -> AsyncIterator[Document]:
        """The document at each change until it is ready or failed: pushed, or asked for when pushing does not work."""
        failures = 0
        last: Document | None = None
        while True:
            async for document in self._pushed(document_id):
                failures = 0
                if document != last:
                    yield document
                if document.is_settled:
                    return
                last = document
            try:
                document = await self.document(document_id)
            except RateLimited as error:
                await asyncio.sleep(error.retry_after or poll_seconds)
                continue
            except (ConnectionFailed, ServiceUnavailable):
                failures += 1
                if failures > _POLLS_IN_VAIN:
                    raise
            else:
                failures = 0
                if document != last:
                    yield document
                if document.is_settled:
                    return
                last = document
            await asyncio.sleep(poll_seconds)

    async def _pushed(self, document_id: UUID | str) -> AsyncIterator[Document]:
        """The document at each event, as long as events come; whatever else happens is left to polling to find out."""
        timeout = httpx2.Timeout(_SILENCE_SECONDS, connect=5.0, pool=None)
        headers = {"Accept": "text/event-stream"}
        path = f"/v1/files/{document_id}/events"
        with contextlib.suppress(ConnectionFailed, ServiceUnavailable, UnexpectedAnswer, RateLimited, NotFound):
            async with self._transport.stream("GET", path, headers=headers, timeout=timeout) as response:
                async for event in read_events(response):
                    if event.event == "progress":
                        yield parsed(Document, event.json(), self.base_url)

    async def wait_until_settled(
        self,
        document_id: UUID | str,
        *,
        timeout: float | None = None,
        on_change: Callable[[Document], None] | None = None,
    ) -> Document:
        """The document once it is ready or failed; ConnectionFailed with code `timeout` after `timeout` seconds."""
        document: Document | None = None
        try:
            async with asyncio.timeout(timeout):
                async for document in self.watch(document_id):
                    if on_change is not None:
                        on_change(document)
        except TimeoutError as error:
            state = document.status if document else "unknown"
            raise ConnectionFailed(f"The document is still {state}.", code="timeout") from error
        assert document is not None  # watch yields at least the settled document
        return document

    async def download(
        self, document_id: UUID | str, target: Path | BinaryIO, on_progress: Progress | None = None
    ) -> int:
        """Write the original file to `target`; returns its size. A file that fails halfway is removed."""
        return await self._download(f"/v1/files/{document_id}/content", target, on_progress)

    async def document_text(self, document_id: UUID | str, page: int = 1) -> PageText:
        """The text of a page, as it was read; pages count from 1."""
        return await self._get(PageText, "GET", f"/v1/files/{document_id}/text", params={"page": page})

    async def passage(self, chunk_id: UUID | str, *, neighbours: int | None = None) -> Passage:
        """What a citation points at, and the `neighbours` passages before and after it."""
        return await self._get(Passage, "GET", f"/v1/passages/{chunk_id}", params={"neighbours": neighbours})

    async def retry_document(self, document_id: UUID | str) -> Document:
        """Have a failed document ingested again."""
        return await self._get(Document, "POST", f"/v1/files/{document_id}/retry")

    async def delete_document(self, document_id: UUID | str) -> DeletionReceipt:
        """Delete the document, its chunks and its file; the receipt says what went."""
        return await self._get(DeletionReceipt, "DELETE", f"/v1/files/{document_id}")

    # Search

    async def search(
        self, query: str, *, limit: int | None = None, document_id: UUID | str | None = None
    ) -> list[SearchResult]:
        """What the model would be given for this question, best first."""
        params = {"q": query, "limit": limit, "document_id": str(document_id) if document_id else None}
        return (await self._get(SearchResults, "GET", "/v1/search", params=params)).results
