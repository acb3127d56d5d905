"""The asynchronous client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, Self
from uuid import UUID

import httpx2

from docuchat_client.accounts import Accounts
from docuchat_client.asking import Asking
from docuchat_client.bodies import Progress, parsed
from docuchat_client.chatbots import Chatbots
from docuchat_client.chats import Chats
from docuchat_client.credentials import Credentials, CredentialStore, MemoryCredentials
from docuchat_client.errors import ConnectionFailed, NotFound, RateLimited, ServiceUnavailable, UnexpectedAnswer
from docuchat_client.exports import Exports
from docuchat_client.following import Following
from docuchat_client.models import DeletionReceipt, Document, Page, SearchResult, SearchResults
from docuchat_client.people import People
from docuchat_client.sharing import Sharing
from docuchat_client.sse import read_events
from docuchat_client.tenancy import Tenancy
from docuchat_client.transport import Transport
from docuchat_client.uploading import Uploading
from docuchat_client.usage_models import Usage

DEFAULT_SERVER = "http://localhost:8000"
_POLL_SECONDS = 1.0
_POLLS_IN_VAIN = 5
_SILENCE_SECONDS = 60.0


class AsyncDocuChat(Accounts, Asking, Chatbots, Chats, Exports, Following, People, Sharing, Tenancy, Uploading):
    """A signed-in (or not yet signed-in) client of one service.

    Tokens come from `credentials`, or from `access_token` and `refresh_token`; they are renewed when they run out. A
    program that signs in as nobody has an `api_key` instead, which may be a chatbot's secret key. A visitor's token
    of a chatbot is an `access_token` that is good with the `origin` of its page only.
    Requests that change nothing twice are repeated up to `retries` times when the service was away or asked to wait
    not longer than `longest_wait` seconds, which `on_wait` is told. So is whatever the limit of requests refused.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_SERVER,
        *,
        api_key: str | None = None,
        access_token: str | None = None,
        refresh_token: str | None = None,
        tenant: str | int | None = None,
        credentials: CredentialStore | None = None,
        timeout: float = 30.0,
        retries: int = 2,
        longest_wait: float = 5.0,
        on_wait: Callable[[float], None] | None = None,
        origin: str | None = None,
    ) -> None:
        own_tenant = str(tenant) if tenant is not None else None
        if credentials is None:
            given = None
            if (token := api_key or access_token) is not None:
                renewal = None if api_key else refresh_token
                given = Credentials(server=base_url, tenant=own_tenant, access_token=token, refresh_token=renewal)
            credentials = MemoryCredentials(given)
        self._challenges: dict[str, str | None] = {}
        self._transport = Transport(
            base_url,
            credentials,
            tenant=own_tenant,
            timeout=timeout,
            retries=retries,
            longest_wait=longest_wait,
            on_wait=on_wait,
            origin=origin,
            user_agent=f"docuchat-client/{version('docuchat-client')}",
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    # Documents

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

    async def retry_document(self, document_id: UUID | str) -> Document:
        """Have a failed document ingested again."""
        return await self._get(Document, "POST", f"/v1/files/{document_id}/retry")

    async def delete_document(self, document_id: UUID | str) -> DeletionReceipt:
        """Delete the document, its chunks and its file; the receipt says what went."""
        return await self._get(DeletionReceipt, "DELETE", f"/v1/files/{document_id}")

    # Search and usage

    async def search(
        self, query: str, *, limit: int | None = None, document_id: UUID | str | None = None
    ) -> list[SearchResult]:
        """What the model would be given for this question, best first."""
        params = {"q": query, "limit": limit, "document_id": str(document_id) if document_id else None}
        return (await self._get(SearchResults, "GET", "/v1/search", params=params)).results

    async def usage(self) -> Usage:
        """Tokens, cost and what is left of the quota."""
        return await self._get(Usage, "GET", "/v1/usage")
