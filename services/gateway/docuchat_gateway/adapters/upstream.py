"""The other services, over HTTP."""

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import aiohttp
import structlog
from prometheus_client import Counter, Gauge
from yarl import URL

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.http.client import outgoing_headers
from docuchat_gateway.edge.errors import ServiceDown

logger = structlog.get_logger()

_failed = Counter("docuchat_upstream_refused", "Requests that a service did not answer.", ["upstream"])
_away = Gauge("docuchat_upstream_away", "1 while requests for a service are refused at once.", ["upstream"])


class HttpUpstream:
    """One service behind the gateway: requests go out as bytes and come back as bytes.

    A connection that is refused is tried again for a short while, since a service that restarts is back in a moment and
    nothing was sent yet. A service that is silent is asked whether it lives: one that is slow is waited for, one that
    is frozen fails every request that waits for it. After either failure requests are refused at once, until `watch`
    gets an answer (a circuit breaker; Nygard, Release It!).
    """

    PATIENCE: Final = 1.5
    """Seconds to get a connection."""
    SILENCE: Final = 0.7
    """Seconds without any answer after which a service that owes one is asked whether it lives."""
    PROBES: Final = (0.4, 0.4)
    """Seconds for each question; two, because our own process may be the late one."""
    WATCH_EVERY: Final = timedelta(milliseconds=200)

    def __init__(self, session: aiohttp.ClientSession, base_url: str, name: str) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        self.name = name
        self._away = False
        self._heard_at = float("-inf")
        self._waiting: dict[asyncio.Timeout, float] = {}

    async def send(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        patience: timedelta,
    ) -> aiohttp.ClientResponse:
        """The response, as soon as its head is there; the caller reads and closes it.

        `target` is the raw path with its query; `patience` is the longest silence, before the head and within the body.
        Raises ServiceDown.
        """
        if self._away:
            raise self.down(None)
        try:
            async with asyncio.timeout(None) as wait:
                self._waiting[wait] = time.monotonic()
                try:
                    response = await self._connect_and_send(method, target, headers, body, patience)
                finally:
                    del self._waiting[wait]
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            self._give_up()
            raise self.down(error) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self.down(error) from error
        self._heard_at = time.monotonic()
        return response

    async def _connect_and_send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, patience: timedelta
    ) -> aiohttp.ClientResponse:
        # the target is as the client wrote it: aiohttp must neither decode nor tidy it
        url = URL(f"{self._base_url}{target}", encoded=True)
        deadline = time.monotonic() + self.PATIENCE
        pause = 0.05
        while True:
            left = max(deadline - time.monotonic(), 0.25)
            try:
                return await self._session.request(
                    method,
                    url,
                    headers={**headers, **outgoing_headers()},
                    data=body,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(
                        total=None, sock_connect=min(left, 1.0), sock_read=patience.total_seconds()
                    ),
                )
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
                if time.monotonic() + pause >= deadline:
                    raise
            await asyncio.sleep(pause)
            pause *= 2

    def down(self, error: BaseException | None) -> ServiceDown:
        """The error to answer with when the service does not answer, or no more."""
        _failed.labels(self.name).inc()
        if error is not None:
            logger.warning("upstream.down", upstream=self.name, error=type(error).__name__)
        return ServiceDown(
            f"The {self.name} service does not answer; try again shortly.", retry_after=timedelta(seconds=2)
        )

    async def watch(self) -> None:
        """Ask a silent service whether it lives; called every `WATCH_EVERY`."""
        if self._away:
            if await self._lives():
                self._away = False
                _away.labels(self.name).set(0)
                logger.info("upstream.back", upstream=self.name)
            return
        now = time.monotonic()
        if now - max(min(self._waiting.values(), default=now), self._heard_at) < self.SILENCE:
            return
        if await self._lives():
            self._heard_at = time.monotonic()
        elif self._heard_at < now:
            self._give_up()
            ends = asyncio.get_running_loop().time()
            for wait in self._waiting:
                wait.reschedule(ends)

    async def check(self) -> None:
        """Raise UpstreamUnavailable when the service is not ready (readiness)."""
        try:
            timeout = aiohttp.ClientTimeout(total=1.5)
            async with self._session.get(f"{self._base_url}/readyz", timeout=timeout) as response:
                ready = response.status < 400
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamUnavailable(f"The {self.name} service does not answer.") from error
        if not ready:
            raise UpstreamUnavailable(f"The {self.name} service is not ready.")

    async def _lives(self) -> bool:
        for seconds in self.PROBES:
            try:
                timeout = aiohttp.ClientTimeout(total=seconds)
                async with self._session.get(f"{self._base_url}/livez", timeout=timeout):
                    return True
            except (aiohttp.ClientError, TimeoutError, OSError):
                continue
        return False

    def _give_up(self) -> None:
        if not self._away:
            self._away = True
            _away.labels(self.name).set(1)
            logger.warning("upstream.away", upstream=self.name)
