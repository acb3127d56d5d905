"""Hints that something has happened to a document or to a user, from Redis."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import redis.asyncio
from prometheus_client import Gauge

from docuchat_common.ids import DocumentId, TenantId
from docuchat_common.redis import redis_errors_translated
from docuchat_common.user_events import UserEventReader, stream_key

_watchers = Gauge("docuchat_document_watchers", "Streams of document progress that are open.")
_streams = Gauge("docuchat_event_streams", "Streams of all that happens to a user that are open.")


@dataclass(slots=True, eq=False)
class _Watcher:
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, timeout: timedelta) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout.total_seconds()):
                await self.changed.wait()
        self.changed.clear()


class RedisDocumentSignals:
    """One subscription a process, shared by all open streams.

    While Redis is away no hint comes, and the streams look at their row by themselves at each poll.
    """

    PATTERNS: Final = ("documents:*", stream_key("*"))

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client
        self._watchers: dict[str, set[_Watcher]] = {}

    @asynccontextmanager
    async def watch(self, tenant_id: TenantId, document_id: DocumentId) -> AsyncIterator[_Watcher]:
        with _watchers.track_inprogress(), self._watch(f"documents:{tenant_id}:{document_id}") as watcher:
            yield watcher

    @asynccontextmanager
    async def watch_user(self, holder: str) -> AsyncIterator[_Watcher]:
        """As `watch`, for all that happens to who is named."""
        with _streams.track_inprogress(), self._watch(stream_key(holder)) as watcher:
            yield watcher

    @contextmanager
    def _watch(self, channel: str) -> Iterator[_Watcher]:
        watcher = _Watcher()
        self._watchers.setdefault(channel, set()).add(watcher)
        try:
            yield watcher
        finally:
            watchers = self._watchers[channel]
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[channel]

    async def run(self) -> None:
        """Listen until cancelled; raises UpstreamUnavailable when Redis goes away."""
        with redis_errors_translated():
            async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
                await subscription.psubscribe(*self.PATTERNS)
                while True:
                    message = await subscription.get_message(timeout=30)
                    if message is not None:
                        channel = message["channel"]
                        self._wake(channel.decode() if isinstance(channel, bytes) else channel)

    def _wake(self, channel: str) -> None:
        for watcher in self._watchers.get(channel, ()):
            watcher.changed.set()


class RedisUserEvents(UserEventReader):
    """What happens to users, and hints that something has."""

    def __init__(self, client: redis.asyncio.Redis, signals: RedisDocumentSignals) -> None:
        super().__init__(client)
        self._signals = signals

    def watch(self, holder: str) -> AbstractAsyncContextManager[_Watcher]:
        return self._signals.watch_user(holder)
