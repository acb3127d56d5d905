"""The one client of OpenAI-compatible providers, and the one reading of its errors."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import aiohttp
import httpx2
import openai
import structlog
from openai import AsyncAPIResponse, AsyncOpenAI, DefaultAioHttpClient
from openai._vendor.httpx_aiohttp import AiohttpTransport

from docuchat_common.egress import EgressPolicy, GuardedConnector, UrlRefused, UrlUnreachable
from docuchat_common.errors import DocuChatError
from docuchat_models.errors import (
    ProviderFailed,
    ProviderInterrupted,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
)
from docuchat_models.providers import LONGEST_PAUSE, read_retry_after

logger = structlog.get_logger()

_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500
_TRANSIENT = (408, 409, 425)
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_LONGEST_ERROR = 64 * 1024
_ERROR_SECONDS = 5.0
_STREAMS = 400
"""Answers of one guarded provider that may be written at once."""
LOST = (httpx2.HTTPError, aiohttp.ClientError, OSError)
"""What reading an answer raises when it does not come whole."""


@asynccontextmanager
async def open_client(
    *,
    api_key: str | None,
    base_url: str,
    read: timedelta,
    connect: timedelta = timedelta(seconds=5),
    key_header: str | None = None,
    query: Mapping[str, str] | None = None,
    egress: EgressPolicy | None = None,
) -> AsyncIterator[AsyncOpenAI]:
    """A client with a pool of its own. It repeats nothing: a second call could cost a second answer.

    The key goes as a bearer token, or in `key_header`; `query` goes with each request. With `egress` nothing else is
    connected to than it allows, whatever a name leads to by then.
    """
    seconds = connect.total_seconds()
    timeout = httpx2.Timeout(read.total_seconds(), connect=seconds, pool=seconds)
    limits = httpx2.Limits(max_connections=5000, max_keepalive_connections=5000, keepalive_expiry=20)
    hooks: dict[str, list[Any]] = {"response": [_bound_error]}
    if key_header is not None:

        async def show_key(request: httpx2.Request) -> None:
            # The SDK shows a key as a bearer token or not at all.
            del request.headers["Authorization"]
            request.headers[key_header] = api_key or ""

        hooks["request"] = [show_key]
    async with AsyncExitStack() as stack:
        options: dict[str, Any] = {}
        if egress is not None:
            # Not by a proxy of the environment's, which would connect to anything.
            options = {"transport": await stack.enter_async_context(_guarded(egress)), "trust_env": False}
        http = await stack.enter_async_context(
            DefaultAioHttpClient(timeout=timeout, limits=limits, follow_redirects=False, event_hooks=hooks, **options)
        )
        yield AsyncOpenAI(
            api_key=api_key or "none",
            base_url=base_url,
            max_retries=0,
            timeout=timeout,
            http_client=http,
            default_query=query,
        )


class _Guarded(AiohttpTransport):
    """To the SDK an address that is not called is one that nobody answers at."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return await super().handle_async_request(request)
        except (UrlRefused, UrlUnreachable) as error:
            raise httpx2.ConnectError("this address is not called") from error


@asynccontextmanager
async def _guarded(policy: EgressPolicy) -> AsyncIterator[httpx2.AsyncBaseTransport]:
    """A transport whose sockets the policy checks one by one."""
    connector = GuardedConnector(policy, per_host=_STREAMS)
    async with aiohttp.ClientSession(
        connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    ) as session:
        yield _Guarded(client=session)


async def read_bounded(response: AsyncAPIResponse[Any], most: int) -> bytes:
    """Return a whole body. One of more than `most` bytes is ProviderInterrupted: it may be billed."""
    body = bytearray()
    async for data in response.iter_bytes():
        body += data
        if len(body) > most:
            raise ProviderInterrupted("The model provider sent an answer that is longer than can be.")
    return bytes(body)


class _Beginning(httpx2.AsyncByteStream):
    """The beginning of a body, which may have no end, or come drop by drop, or break off."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        ends_at, reads = asyncio.get_running_loop().time() + _ERROR_SECONDS, aiter(self._stream)
        left = _LONGEST_ERROR
        with suppress(StopAsyncIteration, *LOST):
            while left > 0:
                async with asyncio.timeout_at(ends_at):
                    data = await anext(reads)
                yield data[:left]
                left -= len(data)

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound_error(response: httpx2.Response) -> None:
    """Bound what the SDK reads of an error, which it reads whole; leave packed what is packed twice."""
    if not response.is_success and isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Beginning(response.stream)
    if len(response.headers.get_list("content-encoding", split_commas=True)) > 1:
        del response.headers["content-encoding"]


def translate(error: openai.APIError, *, longest_pause: timedelta = LONGEST_PAUSE) -> DocuChatError:
    """Our error for one of the SDK's; nothing of the provider's text is passed on, it may hold what was sent."""
    if isinstance(error, openai.APITimeoutError):
        # The aiohttp transport reports every lost connection as a time-out; the cause tells which it was.
        root = error.__cause__.__cause__ if error.__cause__ is not None else None
        if isinstance(root, aiohttp.ClientConnectionError) and not isinstance(root, TimeoutError):
            return ProviderFailed("The model provider closed the connection.")
        return ProviderTimeout()
    if isinstance(error, openai.APIStatusError):
        return _translate_status(error, longest_pause)
    if isinstance(error, openai.APIConnectionError):
        return ProviderFailed("The model provider could not be reached.")
    return ProviderFailed("The model provider sent an answer that cannot be read.")


def _translate_status(error: openai.APIStatusError, longest_pause: timedelta) -> DocuChatError:
    status = error.status_code
    retry_after = read_retry_after(error.response.headers, longest=longest_pause)
    if status == _TOO_MANY_REQUESTS and error.code != "insufficient_quota":
        return ProviderRateLimited(retry_after=retry_after)
    if status >= _SERVER_ERRORS or status in _TRANSIENT:
        logger.warning("provider.failed", status=status)
        return ProviderFailed(f"The model provider failed with status {status}.", retry_after=retry_after)
    # What is no code is a text of the provider's, which may quote what was sent; a key can look like a code.
    code = error.code if isinstance(error.code, str) and _CODE.fullmatch(error.code) else None
    if code and any(code in value for value in error.request.headers.values()):
        code = None
    logger.warning("provider.refused", status=status, code=code)
    return ProviderRefused(
        f"The model provider refused the request with status {status}; whoever set it up should check its key, credit, "
        "model and address."
    )
