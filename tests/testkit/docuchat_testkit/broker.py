"""A virtual host of one test: its administrator, and the services' own logins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import aio_pika

from docuchat_common.messaging.topology import SERVICES, SubscriberQueue
from docuchat_setup.logins import login_url
from docuchat_setup.topology import StreamLimits, declare_subscriber, declare_topology
from docuchat_testkit.databases import run_blocking
from docuchat_testkit.identity import SERVICE_PASSWORD

_SMALL_STREAM = StreamLimits(max_bytes=50_000_000)


@dataclass(slots=True)
class TestBroker:
    """Nothing is declared but what a test asks for, so that it may also see what a missing queue does."""

    __test__ = False

    admin_url: str
    _declared: set[str] = field(default_factory=set)

    def url(self, service: str) -> str:
        """The address with the login of `service`."""
        return login_url(self.admin_url, service, SERVICE_PASSWORD)

    def declare(self, *services: str, stream: bool = False) -> None:
        """Declare the exchange and the queues of `services`, of all when none is named; again costs nothing."""
        wanted = set(services or SERVICES) - self._declared
        if wanted or stream:
            run_blocking(declare_topology(self.admin_url, sorted(wanted), stream=_SMALL_STREAM if stream else None))
            self._declared |= wanted

    async def declare_queues(self, queues: Iterable[SubscriberQueue]) -> None:
        """Declare queues with a ladder of their own, for tests that do not want to wait."""
        await declare_topology(self.admin_url, ())
        connection = await aio_pika.connect(self.admin_url)
        async with connection:
            for queue in queues:
                await declare_subscriber(connection, queue)
