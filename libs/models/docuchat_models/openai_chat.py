"""Answers of any OpenAI-compatible provider.

The SDK makes the request and maps its errors; the stream is parsed here from raw bytes, because building an object of
the SDK for every token costs ten times what orjson does.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import httpx2
import openai
import orjson
import structlog
from openai import AsyncOpenAI, DefaultAioHttpClient

from docuchat_common.errors import DocuChatError
from docuchat_models.chat import ChatRequest, Piece, TokenUsage
from docuchat_models.errors import (
    ProviderFailed,
    ProviderInterrupted,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
)

logger = structlog.get_logger()

_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500
_TRANSIENT = (408, 409)


class OpenAIChat:
    """Streams completions of an OpenAI-compatible provider."""

    def __init__(self, client: AsyncOpenAI) -> None:
        self._completions = client.chat.completions.with_streaming_response

    @classmethod
    @asynccontextmanager
    async def open(
        cls, *, api_key: str, base_url: str, connect_seconds: float, read_seconds: float
    ) -> AsyncIterator[OpenAIChat]:
        """Open a client with a pool of its own."""
        timeout = httpx2.Timeout(read_seconds, connect=connect_seconds, pool=connect_seconds)
        # The SDK retries nothing: a second call could bill a second answer. The use case retries where that is safe.
        limits = httpx2.Limits(max_connections=5000, max_keepalive_connections=5000, keepalive_expiry=20)
        async with DefaultAioHttpClient(timeout=timeout, limits=limits) as http:
            client = AsyncOpenAI(api_key=api_key, base_url=base_url, max_retries=0, timeout=timeout, http_client=http)
            yield cls(client)

    async def answer(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Stream an answer; all text of one read is one piece."""
        accepted = False
        parser = StreamParser()
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
                accepted = True
                yield Piece()
                async for data in response.iter_bytes():
                    piece = parser.feed(data)
                    if piece is not None:
                        yield piece
                    if parser.failure is not None:
                        raise parser.failure
                    if parser.done:
                        return
        except DocuChatError:
            raise
        except openai.APIError as error:
            raise translate(error) from error
        except (httpx2.HTTPError, aiohttp.ClientError, OSError) as error:
            if isinstance(error, httpx2.ReadTimeout):
                raise ProviderTimeout from error
            kind = ProviderInterrupted if accepted else ProviderFailed
            raise kind from error
        if not parser.ended:
            raise ProviderInterrupted


class StreamParser:
    """Turns the bytes of a completion stream into pieces, one for each read that held text, an end or a figure."""

    def __init__(self) -> None:
        self._rest = b""
        self.done = False
        self.ended = False
        self.failure: ProviderInterrupted | None = None
        """Set by a broken frame; what stood before it in the same read is returned all the same."""

    def feed(self, data: bytes) -> Piece | None:
        """Take what arrived; returns what it said, None when that was nothing."""
        lines = (self._rest + data if self._rest else data).split(b"\n")
        self._rest = lines.pop()
        texts: list[str] = []
        finish_reason: str | None = None
        usage: TokenUsage | None = None
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            payload = line[5:]
            if payload.strip() == b"[DONE]":
                self.done = self.ended = True
                break
            try:
                frame = _decode(payload)
            except ProviderInterrupted as failure:
                self.failure = failure
                break
            for choice in frame.get("choices") or ():
                delta = choice.get("delta")
                text = delta.get("content") or delta.get("refusal") if delta else None
                if text:
                    texts.append(text)
                if choice.get("finish_reason"):
                    finish_reason = choice["finish_reason"]
                    self.ended = True
            counted = frame.get("usage")
            if counted:
                usage = TokenUsage(int(counted["prompt_tokens"]), int(counted.get("completion_tokens") or 0))
            if frame.get("error"):
                self.failure = ProviderInterrupted("The model provider reported an error in the middle of the answer.")
                break
        if not texts and finish_reason is None and usage is None:
            return None
        # PostgreSQL stores no NUL, and no answer needs one.
        return Piece("".join(texts).replace("\x00", ""), finish_reason, usage)


def _decode(payload: bytes) -> dict[str, Any]:
    try:
        frame = orjson.loads(payload)
    except orjson.JSONDecodeError:
        try:
            # orjson refuses half a surrogate pair, which some providers send; the half becomes U+FFFD.
            frame = orjson.loads(json.dumps(json.loads(payload), ensure_ascii=False).encode("utf-8", "replace"))
        except ValueError as error:
            raise ProviderInterrupted("The model provider sent a broken frame; what came before it is kept.") from error
    if not isinstance(frame, dict):
        raise ProviderInterrupted("The model provider sent a broken frame; what came before it is kept.")
    return frame


def translate(error: openai.APIError) -> DocuChatError:
    """Return our error for one of the SDK's; nothing of the provider's text is passed on, it may hold the prompt."""
    if isinstance(error, openai.APITimeoutError):
        # The aiohttp transport reports every lost connection as a time-out; the cause tells which it was.
        root = error.__cause__.__cause__ if error.__cause__ is not None else None
        if isinstance(root, aiohttp.ClientConnectionError) and not isinstance(root, TimeoutError):
            return ProviderFailed("The model provider closed the connection.")
        return ProviderTimeout()
    if isinstance(error, openai.APIStatusError):
        return _translate_status(error)
    return ProviderFailed("The model provider could not be reached.")


def _translate_status(error: openai.APIStatusError) -> DocuChatError:
    status = error.status_code
    if status == _TOO_MANY_REQUESTS and error.code != "insufficient_quota":
        return ProviderRateLimited(retry_after=_retry_after(error.response.headers))
    logger.warning("provider.refused", status=status, code=error.code)
    if status >= _SERVER_ERRORS or status in _TRANSIENT:
        return ProviderFailed(f"The model provider failed with status {status}.")
    return ProviderRefused(f"The model provider refused the request with status {status}.")


def _retry_after(headers: httpx2.Headers) -> timedelta | None:
    value = headers.get("retry-after-ms")
    try:
        if value is not None:
            return timedelta(milliseconds=float(value))
        value = headers.get("retry-after")
        if value is None:
            return None
        return timedelta(seconds=max(float(value), 0.0))
    except ValueError:
        try:
            return max(parsedate_to_datetime(str(value)) - datetime.now(UTC), timedelta())
        except (TypeError, ValueError):
            return None
