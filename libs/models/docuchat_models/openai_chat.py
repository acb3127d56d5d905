"""Answers of any OpenAI-compatible provider.

The SDK makes the request; the stream is parsed by `stream_parser` from raw bytes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import aiohttp
import httpx2
import openai
import structlog
from openai import AsyncAPIResponse, AsyncOpenAI

from docuchat_models.chat import ChatRequest, Piece
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
_MOST_CHARACTERS = 32
"""Of a token: a longer text is too much without being counted."""


class OpenAIChat:
    """Streams completions of an OpenAI-compatible provider."""

    def __init__(self, client: AsyncOpenAI, *, longest_pause: timedelta = LONGEST_PAUSE) -> None:
        self._completions = client.chat.completions.with_streaming_response
        self._longest_pause = longest_pause
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
            async with self._completions.create(
                model=request.model,
                messages=(),
                stream=True,
                stream_options={"include_usage": True},
                max_completion_tokens=request.max_output_tokens,
                user=request.user,
                # As extra body, because the SDK walks through typed messages piece by piece, 1 ms a call.
                extra_body={"messages": [{"role": m.role, "content": m.content} for m in request.messages]},
            ) as response:
                async for piece in _pieces(response, request):
                    accepted = True
                    yield piece
        except openai.APIError as error:
            raise translate(error, longest_pause=self._longest_pause) from error
        except httpx2.ReadTimeout as error:
            raise ProviderTimeout from error
        except (httpx2.HTTPError, aiohttp.ClientError, OSError) as error:
            raise (ProviderInterrupted if accepted else ProviderFailed) from error


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
        yield Piece(limit.cut(whole), "length", whole.usage) if limit.exceeded_by(whole) else whole
        return
    if kind and not kind.startswith("text/event-stream"):
        raise ProviderFailed(_NO_ANSWER)
    accepted = bool(kind)
    if accepted:
        yield Piece()
    async for data in response.iter_bytes():
        piece = parser.feed(data)
        if parser.started and not accepted:
            accepted = True
            yield Piece()
        if piece is not None:
            if limit.exceeded_by(piece):
                yield Piece(limit.cut(piece), "length", piece.usage)
                return
            yield piece
        if parser.failure is not None:
            raise parser.failure if accepted else ProviderFailed(_NO_ANSWER)
        if parser.done:
            return
    if not parser.ended:
        raise ProviderInterrupted if accepted else ProviderFailed(_NO_ANSWER)


class _Limit:
    """Holds an answer to the asked number of tokens, whatever the provider sends.

    A token is a byte at least: tokens are counted only once there may be too many, all that came since the last count
    at once. Parts count for more than the whole, which is counted before anything is cut. A vocabulary that is not
    known is allowed half as many tokens again, so that no honest answer is cut for being counted in another one.
    """

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._shown: list[str] = []
        self._counted = 0
        """Of `_shown`, how many pieces are counted in `_left`."""
        self._left: int | None = None
        """Tokens that may still come after the counted pieces."""
        self._bytes = 0
        """Of the pieces that are not counted."""

    def exceeded_by(self, piece: Piece) -> bool:
        """Whether the answer is longer than asked with this piece, which is remembered otherwise."""
        if self._left is None:
            self._left = self._most(_counter_for(self._request.model))
        self._bytes += len(piece.text.encode())
        if self._bytes > self._left and self._is_too_much(piece.text):
            return True
        self._shown.append(piece.text)
        return False

    def _is_too_much(self, text: str) -> bool:
        """Count what is not counted, this text included."""
        counter = _counter_for(self._request.model)
        most = self._most(counter)
        if len(text) > _MOST_CHARACTERS * most:
            return True
        assert self._left is not None  # set by the first piece
        self._left -= counter.count("".join((*self._shown[self._counted :], text)))
        self._counted, self._bytes = len(self._shown) + 1, 0
        if self._left < 0:
            self._left = most - counter.count("".join((*self._shown, text)))
        return self._left < 0

    def cut(self, piece: Piece) -> str:
        """What may be shown of the piece that is too much."""
        counter = _counter_for(self._request.model)
        before, most = "".join(self._shown), self._most(counter)
        return counter.truncate(before + piece.text[: _MOST_CHARACTERS * most], most).removeprefix(before)

    def _most(self, counter: TokenCounter) -> int:
        asked = self._request.max_output_tokens
        return asked if counter.is_exact else asked + asked // 2
