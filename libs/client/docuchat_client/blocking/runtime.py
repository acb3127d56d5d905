"""How the synchronous client has the asynchronous one work: on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, Self, TypeVar
from uuid import UUID

from docuchat_client.answers import AnswerStream
from docuchat_client.models import AnswerEvent, Citation, Fallback, Source, TurnUsage

T = TypeVar("T")


class LoopThread:
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

    def __init__(self, loop: LoopThread, stream: AnswerStream) -> None:
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
    def message_id(self) -> UUID | None:
        """The message that holds the answer."""
        return self._stream.message_id

    @property
    def chatbot_version(self) -> int | None:
        """The version of the chatbot that answers; 0 is the draft."""
        return self._stream.chatbot_version

    @property
    def own_knowledge(self) -> list[str]:
        """Sentences that the model knows from elsewhere; known at the end."""
        return self._stream.own_knowledge

    @property
    def model(self) -> str | None:
        """The model that is asked; at the end the one that answered."""
        return self._stream.model

    @property
    def fallback(self) -> Fallback | None:
        """Why another model answered than the one that was asked; known at the end."""
        return self._stream.fallback

    @property
    def usage(self) -> TurnUsage | None:
        """The tokens; known at the end."""
        return self._stream.usage

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended; known at the end."""
        return self._stream.finish_reason


class Blocking:
    """What the parts of a synchronous client share."""

    _loop: LoopThread
