"""Another service that may be away, frozen or slow: who asks it is told within two seconds, and then at once.

A circuit breaker (Nygard, Release It!): after a refused connection or a time-out requests are refused at once, until
the service has answered a question about its life.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final, TypeVar

import aiohttp
import structlog
from prometheus_client import Counter, Gauge

from docuchat_common.errors import UpstreamUnavailable

logger = structlog.get_logger()

T = TypeVar("T")

NO_CONNECTION: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Nothing was sent yet."""
NO_ANSWER: Final = (aiohttp.ClientError, TimeoutError, OSError)

_failed = Counter("docuchat_upstream_refused", "Requests that a service did not answer.", ["upstream"])
_away = Gauge("docuchat_upstream_away", "1 while requests for a service are refused at once.", ["upstream"])


class Breaker:
    """What this process knows of one service's life."""

    SILENCE: Final = 0.7
    """Seconds without any answer after which `watch` asks a service that owes one whether it lives."""
    PROBES: Final = (0.4, 0.4)
    """Seconds for each question; two, because our own process may be the late one."""
    WATCH_EVERY: Final = timedelta(milliseconds=200)

    def __init__(self, session: aiohttp.ClientSession, base_url: str, name: str) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        self.name = name
        self._is_away = False
        self._probing = False
        self._probe_at = float("-inf")
        self._heard_at = float("-inf")
        self._waiting: dict[asyncio.Timeout, float] = {}
        self._asking = asyncio.Lock()

    def admit(self) -> None:
        """Raise UpstreamUnavailable while the service is away."""
        if self._is_away:
            raise self.down(None)

    async def look_again(self) -> None:
        """Where no `watch` runs: one of those who ask while the service is away finds out, a few times a second."""
        if self._is_away and not self._probing and time.monotonic() >= self._probe_at:
            await self._look()

    @asynccontextmanager
    async def answer(self) -> AsyncIterator[None]:
        """The block waits for an answer; it ends with TimeoutError when `watch` finds the service frozen."""
        async with asyncio.timeout(None) as wait:
            self._waiting[wait] = time.monotonic()
            try:
                yield
            finally:
                del self._waiting[wait]
        self._heard_at = time.monotonic()

    def open(self) -> None:
        """Refuse requests from now on: the service took no connection, or did not answer in time."""
        if not self._is_away:
            self._is_away = True
            _away.labels(self.name).set(1)
            logger.warning("upstream.away", upstream=self.name)

    def down(self, error: BaseException | None) -> UpstreamUnavailable:
        """The error to answer with when the service does not answer, or no more."""
        _failed.labels(self.name).inc()
        if error is not None:
            logger.warning("upstream.down", upstream=self.name, error=type(error).__name__)
        return UpstreamUnavailable(
            f"The {self.name} service does not answer; try again shortly.", retry_after=timedelta(seconds=2)
        )

    async def watch(self) -> None:
        """Find out whether a silent service lives; for those who wait long, called every `WATCH_EVERY`.

        One that is slow is waited for, one that is frozen fails every request that waits for it.
        """
        if self._is_away:
            await self._look()
            return
        now = time.monotonic()
        if now - max(min(self._waiting.values(), default=now), self._heard_at) < self.SILENCE:
            return
        if await self._lives():
            self._heard_at = time.monotonic()
        elif self._heard_at < now:
            self.open()
            ends = asyncio.get_running_loop().time()
            for wait in self._waiting:
                wait.reschedule(ends)

    async def lives(self) -> bool:
        """Whether the service lives; however many want to know, it is asked about once in `SILENCE`."""
        async with self._asking:
            if time.monotonic() - self._heard_at >= self.SILENCE:
                if not await self._lives():
                    return False
                self._heard_at = time.monotonic()
            return True

    async def check(self) -> None:
        """Raise UpstreamUnavailable when the service is not ready (readiness)."""
        try:
            timeout = aiohttp.ClientTimeout(total=1.5)
            async with self._session.get(f"{self._base_url}/readyz", timeout=timeout) as response:
                ready = response.status < 400
        except NO_ANSWER as error:
            raise UpstreamUnavailable(f"The {self.name} service does not answer.") from error
        if not ready:
            raise UpstreamUnavailable(f"The {self.name} service is not ready.")

    async def _look(self) -> None:
        self._probing = True
        try:
            lives = await self._lives()
        finally:
            self._probing = False
            self._probe_at = time.monotonic() + self.WATCH_EVERY.total_seconds()
        if lives and self._is_away:
            self._is_away = False
            _away.labels(self.name).set(0)
            logger.info("upstream.back", upstream=self.name)

    async def _lives(self) -> bool:
        for seconds in self.PROBES:
            try:
                timeout = aiohttp.ClientTimeout(total=seconds)
                async with self._session.get(f"{self._base_url}/livez", timeout=timeout):
                    return True
            except NO_ANSWER:
                continue
        return False


async def connected(request: Callable[[float], Awaitable[T]], patience: timedelta) -> T:
    """Repeat `request` while it gets no connection: a service that restarts is back in a moment, and nothing was sent.

    It is called with the seconds that a connection may take.
    """
    deadline = time.monotonic() + patience.total_seconds()
    pause = 0.05
    while True:
        try:
            return await request(min(max(deadline - time.monotonic(), 0.25), 1.0))
        except NO_CONNECTION:
            if time.monotonic() + pause >= deadline:
                raise
        await asyncio.sleep(pause)
        pause *= 2
