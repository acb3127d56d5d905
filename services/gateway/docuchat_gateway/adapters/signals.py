"""Hints that a document has changed, from Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import redis.asyncio
from prometheus_client import Gauge

from docuchat_common.ids import DocumentId, TenantId
from docuchat_common.redis import redis_errors_translated

_watchers = Gauge("docuchat_document_watchers", "Streams of document progress that are open.")


@dataclass(slots=True, eq=False)
class _Watcher:
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, timeout: timedelta) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout.total_seconds()):
                await self.changed.wait()
        self.changed.clear()


class RedisDocumentSignals:
    """One subscription a process, to `documents:*`, shared by all open progress streams.

    While Redis is away no hint comes, and the streams look at their row by themselves at each poll.
    """

    PATTERN: Final = "documents:*"

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client
        self._watchers: dict[str, set[_Watcher]] = {}

    @asynccontextmanager
    async def watch(self, tenant_id: TenantId, document_id: DocumentId) -> AsyncIterator[_Watcher]:
        channel = f"documents:{tenant_id}:{document_id}"
        watcher = _Watcher()
        self._watchers.setdefault(channel, set()).add(watcher)
        _watchers.inc()
        try:
            yield watcher
        finally:
            _watchers.dec()
            watchers = self._watchers[channel]
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[channel]

    async def run(self) -> None:
        """Listen until cancelled; raises UpstreamUnavailable when Redis goes away."""
        with redis_errors_translated():
            async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
                await subscription.psubscribe(self.PATTERN)
                while True:
                    message = await subscription.get_message(timeout=30)
                    if message is not None:
                        channel = message["channel"]
                        self._wake(channel.decode() if isinstance(channel, bytes) else channel)

    def _wake(self, channel: str) -> None:
        for watcher in self._watchers.get(channel, ()):
            watcher.changed.set()
