"""What the edge needs of the world."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import aiohttp

from docuchat_common.errors import UpstreamUnavailable


class Upstream(Protocol):
    """One service behind the gateway: requests go out as bytes and come back as bytes."""

    @property
    def name(self) -> str: ...

    async def send(
        self, method: str, target: str, *, headers: Mapping[str, str], body: bytes | None, patience: timedelta
    ) -> aiohttp.ClientResponse:
        """The response, as soon as its head is there; the caller reads and closes it.

        `target` is the raw path with its query; `patience` is the longest silence, before the head and within the body.
        Raises UpstreamUnavailable.
        """

    async def watch(self) -> None:
        """Find out whether a service that owes an answer lives; called again and again."""

    async def check(self) -> None:
        """Raise UpstreamUnavailable when the service is not ready."""

    def down(self, error: BaseException | None) -> UpstreamUnavailable:
        """The error to answer with when the service does not answer, or no more."""


@dataclass(frozen=True, slots=True)
class Upstreams:
    """The services behind the gateway."""

    auth: Upstream
    chat: Upstream
    usage: Upstream
