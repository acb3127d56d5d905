"""The other services, over HTTP."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import aiohttp
from yarl import URL

from docuchat_common.http.breaker import NO_ANSWER, NO_CONNECTION, Breaker, connected
from docuchat_common.http.client import outgoing_headers


class HttpUpstream:
    """One service behind the gateway: requests go out as bytes and come back as bytes.

    What is slow is waited for, what is away or frozen is not (`docuchat_common.http.breaker`); `watch` runs beside.
    """

    CONNECT: Final = timedelta(seconds=1.5)
    """How long a connection that is refused is tried for."""
    WATCH_EVERY: Final = Breaker.WATCH_EVERY

    def __init__(self, session: aiohttp.ClientSession, base_url: str, name: str) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._breaker = Breaker(session, base_url, name)
        self.name = name
        self.down = self._breaker.down
        self.watch = self._breaker.watch
        self.check = self._breaker.check

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
        Raises UpstreamUnavailable.
        """
        self._breaker.admit()
        # the target is as the client wrote it: aiohttp must neither decode nor tidy it
        url = URL(f"{self._base_url}{target}", encoded=True)

        async def request(connect_seconds: float) -> aiohttp.ClientResponse:
            return await self._session.request(
                method,
                url,
                headers={**headers, **outgoing_headers()},
                data=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=connect_seconds, sock_read=patience.total_seconds()
                ),
            )

        try:
            async with self._breaker.answer():
                return await connected(request, self.CONNECT)
        except NO_CONNECTION as error:
            self._breaker.open()
            raise self._breaker.down(error) from error
        except NO_ANSWER as error:
            raise self._breaker.down(error) from error
