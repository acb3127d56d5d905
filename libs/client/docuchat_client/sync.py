"""The synchronous client: the asynchronous one, run on a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar
from uuid import UUID

from docuchat_client.aio import DEFAULT_SERVER, AsyncDocuChat, Progress
from docuchat_client.answers import AnswerStream, Channel
from docuchat_client.credentials import CredentialStore
from docuchat_client.models import (
    Answer,
    AnswerEvent,
    Chat,
    ChatWithMessages,
    Citation,
    CodeSent,
    DeletionReceipt,
    Document,
    Message,
    Page,
    SearchResult,
    Source,
    Tokens,
    TurnUsage,
    Usage,
    User,
)

T = TypeVar("T")


class _LoopThread:
    """An event loop that runs until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="docuchat-client", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C arrives here, not in the loop's thread
            raise

    def iterate(self, iterator: AsyncIterator[T]) -> Iterator[T]:
        async def following() -> T:
            return await anext(iterator)

        async def close() -> None:
            if aclose := getattr(iterator, "aclose", None):
                await aclose()

        try:
            while True:
                try:
                    item = self.run(following())
                except StopAsyncIteration:
                    return
                yield item
        finally:
            self.run(close())

    def close(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


class BlockingAnswerStream:
    """`AnswerStream` for synchronous code."""

    def __init__(self, loop: _LoopThread, stream: AnswerStream) -> None:
        self._loop = loop
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[AnswerEvent]:
        return self._loop.iterate(aiter(self._stream))

    def text(self) -> Iterator[str]:
        """The words of the answer as they come."""
        return self._loop.iterate(self._stream.text())

    def stop(self) -> None:
        """Ask the service to end the answer."""
        self._loop.run(self._stream.stop())

    def close(self) -> None:
        """Close the connection."""
        self._loop.run(self._stream.aclose())

    @property
    def turn_id(self) -> UUID | None:
        """The turn, by which the answer can be resumed and stopped."""
        return self._stream.turn_id

    @property
    def chat_id(self) -> UUID | None:
        """The chat that question and answer are kept in."""
        return self._stream.chat_id

    @property
    def answer(self) -> str:
        """The text so far."""
        return self._stream.answer

    @property
    def sources(self) -> list[Source]:
        """What was found for the question."""
        return self._stream.sources

    @property
    def citations(self) -> list[Citation]:
        """What the answer rests on; known at its end."""
        return self._stream.citations

    @property
    def usage(self) -> TurnUsage | None:
        """The tokens; known at the end."""
        return self._stream.usage

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended; known at the end."""
        return self._stream.finish_reason


class DocuChat:
    """`AsyncDocuChat` for synchronous code: the same arguments, the same methods, the same errors."""

    def __init__(
        self,
        base_url: str = DEFAULT_SERVER,
        *,
        access_token: str | None = None,
        refresh_token: str | None = None,
        tenant: str | int | None = None,
        credentials: CredentialStore | None = None,
        timeout: float = 30.0,
        retries: int = 2,
        longest_wait: float = 5.0,
    ) -> None:
        self._loop = _LoopThread()

        async def build() -> AsyncDocuChat:
            return AsyncDocuChat(
                base_url,
                access_token=access_token,
                refresh_token=refresh_token,
                tenant=tenant,
                credentials=credentials,
                timeout=timeout,
                retries=retries,
                longest_wait=longest_wait,
            )

        self._client = self._loop.run(build())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection and end the thread."""
        self._loop.run(self._client.aclose())
        self._loop.close()

    def request_code(self, email: str) -> CodeSent:
        """Have a sign-in code sent to the address."""
        return self._loop.run(self._client.request_code(email))

    def verify_code(self, email: str, code: str) -> Tokens:
        """Sign in with the code."""
        return self._loop.run(self._client.verify_code(email, code))

    def login(self, email: str, ask_code: Callable[[CodeSent], str]) -> Tokens:
        """Request a code, have it asked for, and sign in."""
        return self.verify_code(email, ask_code(self.request_code(email)))

    def logout(self) -> None:
        """Revoke the refresh token and forget the tokens."""
        self._loop.run(self._client.logout())

    def me(self) -> User:
        """Who is signed in."""
        return self._loop.run(self._client.me())

    def upload(
        self,
        file: str | Path | BinaryIO | bytes,
        *,
        filename: str | None = None,
        title: str | None = None,
        collection_id: UUID | str | None = None,
        on_progress: Progress | None = None,
        idempotency_key: str | None = None,
    ) -> Document:
        """Send a file; see `AsyncDocuChat.upload`."""
        return self._loop.run(
            self._client.upload(
                file,
                filename=filename,
                title=title,
                collection_id=collection_id,
                on_progress=on_progress,
                idempotency_key=idempotency_key,
            )
        )

    def documents(
        self, *, limit: int | None = None, cursor: str | None = None, status: str | None = None, q: str | None = None
    ) -> Page[Document]:
        """One page of the documents, newest first."""
        return self._loop.run(self._client.documents(limit=limit, cursor=cursor, status=status, q=q))

    def all_documents(self, *, status: str | None = None, q: str | None = None) -> Iterator[Document]:
        """Every document, page by page."""
        return self._loop.iterate(self._client.all_documents(status=status, q=q))

    def document(self, document_id: UUID | str) -> Document:
        """One document."""
        return self._loop.run(self._client.document(document_id))

    def watch(self, document_id: UUID | str) -> Iterator[Document]:
        """The document at each change until it is ready or failed."""
        return self._loop.iterate(self._client.watch(document_id))

    def wait_until_settled(
        self,
        document_id: UUID | str,
        *,
        timeout: float | None = None,
        on_change: Callable[[Document], None] | None = None,
    ) -> Document:
        """The document once it is ready or failed."""
        return self._loop.run(self._client.wait_until_settled(document_id, timeout=timeout, on_change=on_change))

    def download(self, document_id: UUID | str, target: Path | BinaryIO, on_progress: Progress | None = None) -> int:
        """Write the original file to `target`; returns its size."""
        return self._loop.run(self._client.download(document_id, target, on_progress))

    def retry_document(self, document_id: UUID | str) -> Document:
        """Have a failed document ingested again."""
        return self._loop.run(self._client.retry_document(document_id))

    def delete_document(self, document_id: UUID | str) -> DeletionReceipt:
        """Delete the document, its chunks and its file."""
        return self._loop.run(self._client.delete_document(document_id))

    def ask(
        self,
        message: str,
        *,
        chat_id: UUID | str | None = None,
        session_id: str | int | None = None,
        model: str | None = None,
        document_ids: Sequence[UUID | str] | None = None,
        collection_id: UUID | str | None = None,
        idempotency_key: str | None = None,
    ) -> Answer:
        """The whole answer at once."""
        return self._loop.run(
            self._client.ask(
                message,
                chat_id=chat_id,
                session_id=session_id,
                model=model,
                document_ids=document_ids,
                collection_id=collection_id,
                idempotency_key=idempotency_key,
            )
        )

    def stream(
        self,
        message: str,
        *,
        chat_id: UUID | str | None = None,
        session_id: str | int | None = None,
        model: str | None = None,
        document_ids: Sequence[UUID | str] | None = None,
        collection_id: UUID | str | None = None,
        channel: Channel = "websocket",
    ) -> BlockingAnswerStream:
        """The answer as it is made: `with client.stream("…") as answer: for word in answer.text(): …`."""
        stream = self._client.stream(
            message,
            chat_id=chat_id,
            session_id=session_id,
            model=model,
            document_ids=document_ids,
            collection_id=collection_id,
            channel=channel,
        )
        return BlockingAnswerStream(self._loop, stream)

    def resume(self, turn_id: UUID | str, *, after: int = 0, channel: Channel = "websocket") -> BlockingAnswerStream:
        """An answer that was begun elsewhere, behind piece number `after`."""
        return BlockingAnswerStream(self._loop, self._client.resume(turn_id, after=after, channel=channel))

    def stop(self, turn_id: UUID | str) -> None:
        """End an answer that is being made."""
        self._loop.run(self._client.stop(turn_id))

    def create_chat(self, title: str | None = None) -> Chat:
        """A new, empty chat."""
        return self._loop.run(self._client.create_chat(title))

    def chats(self, *, limit: int | None = None, cursor: str | None = None, q: str | None = None) -> Page[Chat]:
        """One page of the chats, newest first."""
        return self._loop.run(self._client.chats(limit=limit, cursor=cursor, q=q))

    def chat(self, chat_id: UUID | str, *, limit: int | None = None, cursor: str | None = None) -> ChatWithMessages:
        """A chat and a page of its messages."""
        return self._loop.run(self._client.chat(chat_id, limit=limit, cursor=cursor))

    def rename_chat(self, chat_id: UUID | str, title: str) -> Chat:
        """Give the chat another title."""
        return self._loop.run(self._client.rename_chat(chat_id, title))

    def delete_chat(self, chat_id: UUID | str) -> None:
        """Delete the chat and its messages."""
        self._loop.run(self._client.delete_chat(chat_id))

    def messages(self, chat_id: UUID | str, *, limit: int | None = None, cursor: str | None = None) -> Page[Message]:
        """One page of a chat's messages."""
        return self._loop.run(self._client.messages(chat_id, limit=limit, cursor=cursor))

    def add_message(self, chat_id: UUID | str, content: str, metadata: dict[str, Any] | None = None) -> Message:
        """Store a message of the user without asking the model."""
        return self._loop.run(self._client.add_message(chat_id, content, metadata))

    def search(
        self, query: str, *, limit: int | None = None, document_id: UUID | str | None = None
    ) -> list[SearchResult]:
        """What the model would be given for this question, best first."""
        return self._loop.run(self._client.search(query, limit=limit, document_id=document_id))

    def usage(self) -> Usage:
        """Tokens, cost and what is left of the quota."""
        return self._loop.run(self._client.usage())
