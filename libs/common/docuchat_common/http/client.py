"""HTTP between services: one pooled aiohttp session a process, deadlines, trace context, problems as errors."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import aiohttp
import orjson
import structlog

from docuchat_common.errors import (
    BadRequest,
    Conflict,
    DocuChatError,
    Forbidden,
    InvalidInput,
    NotFound,
    PayloadTooLarge,
    QuotaExceeded,
    RateLimited,
    RequestTimeout,
    StorageFull,
    Unauthenticated,
    UnsupportedMedia,
    UpstreamUnavailable,
)
from docuchat_common.http.breaker import NO_ANSWER, NO_CONNECTION, Breaker, connected
from docuchat_common.messaging.outbox import current_headers

_BY_STATUS: dict[int, type[DocuChatError]] = {
    400: BadRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    408: RequestTimeout,
    409: Conflict,
    413: PayloadTooLarge,
    415: UnsupportedMedia,
    422: InvalidInput,
    507: StorageFull,
}


KEEP_ALIVE: Final = timedelta(seconds=2)
"""How long a connection is kept for the next request: less than a server that stops still answers on it."""


@asynccontextmanager
async def open_http_client(*, connect_seconds: float = 1.0) -> AsyncIterator[aiohttp.ClientSession]:
    """The process's client session: unlimited pool, short connect time-out, no cookies, bodies as they are."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE.total_seconds(), ttl_dns_cache=30)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=2**18,
    ) as session:
        yield session


class ServiceClient:
    """Calls one other service, behind a circuit breaker."""

    CONNECT: Final = timedelta(seconds=1)
    """How long a connection that is refused is tried for."""
    HEALTH: Final = timedelta(seconds=2.3)
    """How long a service may take to say how it is: two seconds when a part of it hangs."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, name: str) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        self.name = name
        self._breaker = Breaker(session, base_url, name)

    async def request_json(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: timedelta = timedelta(seconds=1.5),
        patience: timedelta = timedelta(),
    ) -> Any:
        """The decoded JSON answer (None when it has no body).

        A problem document is raised as the error of its category, with its code, detail and extensions. No answer
        within `timeout` is UpstreamUnavailable, for this call and, at once, for those after it until the service lives.
        Where it may be slow because many ask at once, `patience` is how long it is waited for in all, as long as it
        says meanwhile that it lives.
        """
        await self._breaker.look_again()
        self._breaker.admit()

        async def request(connect_seconds: float) -> Any:
            async with self._session.request(
                method,
                f"{self._base_url}{path}",
                data=None if json is None else orjson.dumps(json),
                headers={**outgoing_headers(), "Content-Type": "application/json", **(headers or {})},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
            ) as response:
                body = await response.read()
                if response.status < 400:
                    return orjson.loads(body) if body else None
                raise error_from_response(response.status, body, response.headers, self.name)

        try:
            async with asyncio.timeout(timeout.total_seconds()) as wait, self._extending(wait, timeout, patience):
                return await connected(request, min(self.CONNECT, timeout))
        except (*NO_CONNECTION, TimeoutError) as error:
            self._breaker.open()
            raise self._breaker.down(error) from error
        except (*NO_ANSWER, orjson.JSONDecodeError) as error:
            raise self._breaker.down(error) from error

    @asynccontextmanager
    async def _extending(self, wait: asyncio.Timeout, timeout: timedelta, patience: timedelta) -> AsyncIterator[None]:
        """Move the end of `wait` while the service lives; nothing is asked before half of `timeout` has passed."""
        loop = asyncio.get_running_loop()
        last = loop.time() + patience.total_seconds()
        pause, each = timeout.total_seconds() / 2, timeout.total_seconds()

        async def extend() -> None:
            while loop.time() + each / 2 < last and await self._breaker.lives():
                wait.reschedule(min(loop.time() + each, last))
                await asyncio.sleep(pause)

        tasks: list[asyncio.Task[None]] = []
        timer = loop.call_later(pause, lambda: tasks.append(loop.create_task(extend()))) if patience > timeout else None
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            for task in tasks:
                task.cancel()

    async def check(self) -> None:
        """Raise UpstreamUnavailable when the service is not ready (readiness)."""
        await self._breaker.check()

    async def get_health(self) -> tuple[bool, dict[str, str]]:
        """Whether the service is ready, and how each part of it is. Raises UpstreamUnavailable."""
        timeout = aiohttp.ClientTimeout(total=self.HEALTH.total_seconds())
        try:
            async with self._session.get(f"{self._base_url}/healthz", timeout=timeout) as response:
                return response.status < 400, dict((await response.json())["checks"])
        except (*NO_ANSWER, ValueError, KeyError, TypeError) as error:
            raise self._breaker.down(error) from error


def outgoing_headers() -> dict[str, str]:
    """Trace context and request id for a call to another service."""
    headers = current_headers()
    if (request_id := headers.pop("request-id", None)) is not None:
        headers["X-Request-ID"] = request_id
    return headers


def error_from_response(status: int, body: bytes, headers: Mapping[str, str], service: str) -> DocuChatError:
    """The DocuChatError that a service's problem response stands for."""
    try:
        problem = orjson.loads(body)
    except orjson.JSONDecodeError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    known = {"type", "title", "status", "code", "detail", "request_id"}
    extensions = {key: value for key, value in problem.items() if key not in known}
    detail = problem.get("detail") or f"The {service} service answered with status {status}."
    code = problem.get("code")
    retry_after = headers.get("Retry-After", "")
    wait = timedelta(seconds=int(retry_after)) if retry_after.isdigit() else None
    error: DocuChatError
    if status == 429:
        kind = QuotaExceeded if code == QuotaExceeded.code else RateLimited
        error = kind(detail, retry_after=wait, **extensions)
    elif status in _BY_STATUS:
        error = _BY_STATUS[status](detail, **extensions)
    else:
        structlog.get_logger().warning("upstream.failed", upstream=service, status=status)
        return UpstreamUnavailable(f"The {service} service cannot answer now; try again shortly.", retry_after=wait)
    if isinstance(code, str):
        error.code = code  # the caller sees the code that the other service gave
    return error
