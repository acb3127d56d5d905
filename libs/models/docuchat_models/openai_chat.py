"""Answers of any OpenAI-compatible provider.

The SDK makes the request; the stream is parsed by `stream_parser` from raw bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import aiohttp
import httpx2
import openai
import structlog
from openai import AsyncAPIResponse, AsyncOpenAI

from docuchat_models.chat import ChatRequest, Piece
from docuchat_models.dialects import Dialect
from docuchat_models.errors import ProviderFailed, ProviderInterrupted, ProviderTimeout
from docuchat_models.openai_client import open_client, read_bounded, translate
from docuchat_models.providers import LONGEST_PAUSE, provider_name
from docuchat_models.stream_parser import StreamParser
from docuchat_models.tokens import TokenCounter

logger = structlog.get_logger()

_counter_for = cache(TokenCounter.for_model)
_NO_ANSWER = "The model provider answered with something that is no stream of an answer."
_LONGEST_WHOLE = 4 * 1024 * 1024
"""Bytes of an answer that comes as one JSON object."""
_AT_ONCE = 16 * 1024
"""Bytes of a stream that are parsed before others have their turn: a packed read can be a thousand times as long."""
_ROOM = 8 * 1024 * 1024
_ROOM_OF_A_TOKEN = 4 * 1024
"""Bytes that a stream may have in all: so many, and so many more for each token that was asked for."""
_MOST_CHARACTERS = 32
"""Of a token, on average: a longer text is too much without being counted. It bounds how often a text is counted, too:
of runs of one letter, of which a token holds more, the whole would be counted at nearly each letter in the end."""
_NEAR = 4
"""Tokens by which parts may count for less than the whole, seldom: so near the end the whole is counted."""
_LONG = 4_000
"""Characters; counting more takes too long for the event loop."""


class OpenAIChat:
    """Streams completions of an OpenAI-compatible provider."""

    def __init__(self, client: AsyncOpenAI, *, longest_pause: timedelta = LONGEST_PAUSE) -> None:
        self._completions = client.chat.completions.with_streaming_response
        self._longest_pause = longest_pause
        self._usual = Dialect.of(str(client.base_url))
        self._dialects: dict[str, Dialect] = {}
        """By model, of those that were asked: as many as may be."""
        self.provider = provider_name(str(client.base_url))
        """The provider's name in holds and books."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        api_key: str,
        base_url: str,
        connect_seconds: float,
        read_seconds: float,
        longest_pause: timedelta = LONGEST_PAUSE,
    ) -> AsyncIterator[OpenAIChat]:
        """Open a client with a pool of its own; `longest_pause` bounds what the provider may ask for."""
        async with open_client(
            api_key=api_key,
            base_url=base_url,
            read=timedelta(seconds=read_seconds),
            connect=timedelta(seconds=connect_seconds),
        ) as client:
            yield cls(client, longest_pause=longest_pause)

    async def answer(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Stream an answer; all text of one read is one piece, and none goes beyond the asked number of tokens.

        The first piece is empty: the provider took the request. An answer may come whole, as JSON; all else is none,
        ProviderFailed.
        """
        accepted = False
        try:
            async with AsyncExitStack() as stack:
                response = await self._ask(request, stack)
                async for piece in _pieces(response, request):
                    accepted = True
                    yield piece
        except openai.APIError as error:
            raise translate(error, longest_pause=self._longest_pause) from error
        except httpx2.ReadTimeout as error:
            raise ProviderTimeout from error
        except (httpx2.HTTPError, aiohttp.ClientError, OSError) as error:
            raise (ProviderInterrupted if accepted else ProviderFailed) from error

    async def _ask(self, request: ChatRequest, stack: AsyncExitStack) -> AsyncAPIResponse[Any]:
        """Ask, again and otherwise where a parameter is refused; what the model took is remembered."""
        # As extra body, because the SDK walks through typed messages piece by piece, 1 ms a call.
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        dialect = self._dialects.get(request.model, self._usual)
        while True:
            asking = self._completions.create(
                model=request.model,
                messages=(),
                stream=True,
                extra_body={"messages": messages, **dialect.parameters(request)},
            )
            try:
                response = await stack.enter_async_context(asking)
            except openai.APIStatusError as error:
                other = dialect.after(error, request)
                if other is None:
                    raise
                logger.info("provider.parameter_refused", refused=sorted(other.refused))
                dialect = other
            else:
                self._dialects[request.model] = dialect
                return response


async def _pieces(response: AsyncAPIResponse[Any], request: ChatRequest) -> AsyncGenerator[Piece, None]:
    """The pieces of a response; the empty one comes as soon as it is known to be a stream."""
    parser, limit = StreamParser(), _Limit(request)
    kind = response.headers.get("content-type", "")
    if kind.startswith("application/json"):
        whole = parser.read_whole(await read_bounded(response, _LONGEST_WHOLE))
        if whole is None:
            raise ProviderFailed(_NO_ANSWER)
        logger.warning("provider.odd_answer", part="stream")
        yield Piece()
        yield await asyncio.to_thread(limit.cut, whole) if await _exceeds(limit, whole) else whole
        return
    if kind and not kind.startswith("text/event-stream"):
        raise ProviderFailed(_NO_ANSWER)
    accepted = bool(kind)
    if accepted:
        yield Piece()
    async for data in _short_reads(response, _ROOM + _ROOM_OF_A_TOKEN * request.max_output_tokens):
        piece = parser.feed(data)
        if parser.started and not accepted:
            accepted = True
            yield Piece()
        if piece is not None:
            if await _exceeds(limit, piece):
                yield await asyncio.to_thread(limit.cut, piece)
                return
            yield piece
        if parser.failure is not None:
            raise parser.failure if accepted else ProviderFailed(_NO_ANSWER)
        if parser.done:
            return
    if not parser.ended:
        raise ProviderInterrupted if accepted else ProviderFailed(_NO_ANSWER)


async def _short_reads(response: AsyncAPIResponse[Any], most: int) -> AsyncGenerator[bytes, None]:
    """The bytes of a stream; one that goes on without saying anything is ProviderInterrupted at last."""
    async for data in response.iter_bytes():
        most -= len(data)
        if most < 0:
            raise ProviderInterrupted("The model provider sent an answer that is longer than can be.")
        for start in range(0, len(data), _AT_ONCE):
            if start:
                await asyncio.sleep(0)
            yield data[start : start + _AT_ONCE]


async def _exceeds(limit: _Limit, piece: Piece) -> bool:
    return await asyncio.to_thread(limit.exceeded_by, piece) if limit.is_dear(piece) else limit.exceeded_by(piece)


class _Limit:
    """Holds an answer to the asked number of tokens, whatever the provider sends: what is shown and what is thought.

    A token is a byte at least: tokens are counted only once there may be too many, all that came since the last count
    at once. Parts mostly count for more than the whole, which is counted near the end. A vocabulary that is not
    known is allowed half as many tokens again, so that no honest answer is cut for being counted in another one.
    """

    def __init__(self, request: ChatRequest) -> None:
        self._counter = _counter_for(request.model)
        asked = request.max_output_tokens
        self._most = asked if self._counter.is_exact else asked + asked // 2
        self._left = self._most
        """Tokens that may still come after the counted pieces."""
        self._room = _MOST_CHARACTERS * self._most
        """Characters that may still come."""
        self._texts, self._thoughts = _Counted(self._counter), _Counted(self._counter)
        self._bytes = 0
        """Of the pieces that are not counted."""

    def is_dear(self, piece: Piece) -> bool:
        """Whether `exceeded_by` may have to count much."""
        characters = len(piece.text) + len(piece.thoughts)
        length = _MOST_CHARACTERS * self._most - self._room + characters
        return length > _LONG and self._bytes + 4 * characters > self._left

    def exceeded_by(self, piece: Piece) -> bool:
        """Whether the answer is longer than asked with this piece, which is remembered otherwise."""
        characters = len(piece.text) + len(piece.thoughts)
        if characters > self._room:
            return True
        self._bytes += len(piece.text.encode()) + len(piece.thoughts.encode())
        if self._bytes > self._left and self._is_too_much(piece):
            return True
        self._room -= characters
        self._texts.parts.append(piece.text)
        self._thoughts.parts.append(piece.thoughts)
        return False

    def _is_too_much(self, piece: Piece) -> bool:
        """Count what is not counted, this piece included."""
        self._left -= self._texts.added(piece.text) + self._thoughts.added(piece.thoughts)
        self._bytes = 0
        if self._left < _NEAR:
            self._left = self._most - self._texts.whole(piece.text) - self._thoughts.whole(piece.thoughts)
        return self._left < 0

    def cut(self, piece: Piece) -> Piece:
        """What may be kept of the piece that is too much."""
        text = self._texts.cut(piece.text[: self._room], self._most - self._thoughts.whole(""))
        self._texts.parts.append(text)
        room = self._room - len(text)
        thoughts = self._thoughts.cut(piece.thoughts[:room], self._most - self._texts.whole(""))
        return Piece(text, "length", piece.usage, thoughts=thoughts)


class _Counted:
    """One of the two texts of an answer, and how far its tokens are counted."""

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter
        self.parts: list[str] = []
        self._counted = 0

    def added(self, text: str) -> int:
        """Tokens of what came since the last count, and of a text that is about to."""
        tokens = self._counter.count("".join((*self.parts[self._counted :], text)))
        self._counted = len(self.parts) + 1
        return tokens

    def whole(self, text: str) -> int:
        """Tokens of all, with a text that is about to come."""
        return self._counter.count("".join((*self.parts, text)))

    def cut(self, text: str, most: int) -> str:
        """The beginning of the next text with which all has `most` tokens."""
        before = "".join(self.parts)
        # The whole may be cut before the end of what was shown: its last token ends elsewhere with what follows.
        return self._counter.truncate(before + text, most)[len(before) :]
