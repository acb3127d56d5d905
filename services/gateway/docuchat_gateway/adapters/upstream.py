"""The other services, over HTTP."""

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import aiohttp
import structlog
from prometheus_client import Counter
from yarl import URL

from docuchat_common.http.client import outgoing_headers
from docuchat_gateway.edge.errors import ServiceDown

logger = structlog.get_logger()

_refused = Counter("docuchat_upstream_refused", "Requests that got no connection to a service.", ["upstream"])


class HttpUpstream:
    """One service behind the gateway: requests go out as bytes and come back as bytes.

    A connection that is refused is tried again for a short while, since a service that restarts is back in a moment and
    nothing was sent yet. When that did not help, the next requests try only once until one has succeeded.
    """

    PATIENCE: Final = 1.5
    """Seconds to get a connection."""
    REMEMBERED: Final = 5.0
    """Seconds for which a service counts as down after a failure."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, name: str) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        self.name = name
        self._down_until = 0.0

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
        # the target is as the client wrote it: aiohttp must neither decode nor tidy it
        url = URL(f"{self._base_url}{target}", encoded=True)
        began = time.monotonic()
        deadline = began + (0.0 if began < self._down_until else self.PATIENCE)
        pause = 0.05
        while True:
            left = max(deadline - time.monotonic(), 0.25)
            try:
                response = await self._session.request(
                    method,
                    url,
                    headers={**headers, **outgoing_headers()},
                    data=body,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(
                        total=None, sock_connect=min(left, 1.0), sock_read=patience.total_seconds()
                    ),
                )
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                if time.monotonic() + pause < deadline:
                    await asyncio.sleep(pause)
                    pause *= 2
                    continue
                self._down_until = time.monotonic() + self.REMEMBERED
                raise self.down(error) from error
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise self.down(error) from error
            self._down_until = 0.0
            return response

    def down(self, error: BaseException) -> ServiceDown:
        """The error to answer with when the service does not answer, or no more."""
        _refused.labels(self.name).inc()
        logger.warning("upstream.down", upstream=self.name, error=type(error).__name__)
        return ServiceDown(
            f"The {self.name} service does not answer; try again shortly.", retry_after=timedelta(seconds=2)
        )
