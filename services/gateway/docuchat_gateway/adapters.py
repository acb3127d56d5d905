"""Redis, the blob store and the other services behind the ports."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from typing import Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

import aiohttp
import obstore
import redis.asyncio
import structlog
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url
from prometheus_client import Counter, Gauge
from redis.exceptions import NoScriptError, RedisError
from yarl import URL

from docuchat_common.http.client import outgoing_headers
from docuchat_common.ids import DocumentId, TenantId
from docuchat_gateway.errors import (
    BlobMissing,
    BlobStoreUnavailable,
    IdempotencyKeyRunning,
    RangeUnsatisfiable,
    ServiceDown,
)
from docuchat_gateway.ports import BlobContent, ClaimedKey, FinishedRequest, RateDecision, StoredBlob

logger = structlog.get_logger()

REDIS_TROUBLE: Final = (RedisError, OSError, TimeoutError)

_unlimited = Counter(
    "docuchat_rate_limit_skipped", "Requests that passed uncounted, because Redis did not answer in time."
)
_watchers = Gauge("docuchat_document_watchers", "Streams of document progress that are open.")
_refused = Counter("docuchat_upstream_refused", "Requests that got no connection to a service.", ["upstream"])


# --- blob store ------------------------------------------------------------------------------------------


class ObstoreBlobs:
    """A local folder (`file:///…`) or an S3 bucket (`s3://bucket/prefix`), with one API."""

    PART_BYTES: Final = 5 * 2**20
    """The smallest part that S3 takes in a multipart upload."""

    def __init__(self, url: str) -> None:
        if url.startswith("file://"):
            Path(unquote(urlsplit(url).path)).mkdir(parents=True, exist_ok=True)
        self._store: ObjectStore = from_url(url)

    def open_writer(self, key: str) -> "_ObstoreWriter":
        return _ObstoreWriter(self._store, key)

    async def move(self, source: str, target: str) -> None:
        async with _translated():
            await obstore.rename_async(self._store, source, target)

    async def open(self, key: str, start: int | None, end: int | None) -> BlobContent:
        async with _translated():
            if start is None and end is None:
                result = await obstore.get_async(self._store, key)
            else:
                size = (await obstore.head_async(self._store, key))["size"]
                first = max(0, size + start) if start is not None and start < 0 else start or 0
                last = min(size, end if end is not None else size)
                if first >= last:
                    raise RangeUnsatisfiable(size=size)
                result = await obstore.get_async(self._store, key, options={"range": (first, last)})
            begin, stop = result.range
            return BlobContent(result.meta["size"], begin, stop, _read(result))

    async def delete(self, key: str) -> None:
        async with _translated():
            with suppress(FileNotFoundError):
                await obstore.delete_async(self._store, key)

    async def list_blobs(self, prefix: str) -> AsyncIterator[StoredBlob]:
        async with _translated():
            async for batch in obstore.list(self._store, prefix):
                for entry in batch:
                    yield StoredBlob(entry["path"], entry["last_modified"])

    async def check(self) -> None:
        """Raise BlobStoreUnavailable when the store cannot be asked (readiness)."""
        with suppress(BlobMissing):
            async with _translated():
                await obstore.head_async(self._store, "uploads/readiness")


async def _read(result: "obstore.GetResult") -> AsyncIterator[bytes]:
    async with _translated():
        async for chunk in result.stream(min_chunk_size=256 * 1024):
            yield bytes(chunk)


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BlobMissing from error
    except (BaseError, OSError) as error:
        logger.warning("blob_store.failed", error=type(error).__name__)
        raise BlobStoreUnavailable from error


class _Aborted(Exception):
    """The writer was told to give up."""


class _ObstoreWriter:
    """Feeds one `put`, which is whole or nothing.

    An abort ends the put's own source with an error instead of cancelling the put, so that the store always hears of it
    and takes its unfinished parts away.
    """

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._chunks: asyncio.Queue[bytes | _Aborted | None] = asyncio.Queue(maxsize=4)
        self._store = store
        self._key = key
        self._put = asyncio.create_task(self._run())
        self._committed = False

    async def write(self, data: bytes) -> None:
        await self._feed(data)

    async def commit(self) -> None:
        await self._feed(None)
        async with _translated():
            await asyncio.shield(self._put)
        self._committed = True

    async def abort(self) -> None:
        if self._committed:
            async with _translated():
                with suppress(FileNotFoundError):
                    await obstore.delete_async(self._store, self._key)
            return
        while not self._put.done():
            with suppress(asyncio.QueueEmpty):
                self._chunks.get_nowait()
            with suppress(asyncio.QueueFull):
                self._chunks.put_nowait(_Aborted())
            await asyncio.wait({self._put}, timeout=0.05)
        if self._put.exception() is None:  # everything had been written when the abort came
            async with _translated():
                with suppress(FileNotFoundError):
                    await obstore.delete_async(self._store, self._key)

    async def _feed(self, item: bytes | None) -> None:
        """Hand an item to the put; a put that has failed does not take any more."""
        room = asyncio.ensure_future(self._chunks.put(item))
        try:
            await asyncio.wait({room, self._put}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not room.done():
                room.cancel()
        if self._put.done() and self._put.exception() is not None:
            async with _translated():
                self._put.result()

    async def _source(self) -> AsyncIterator[bytes]:
        while (item := await self._chunks.get()) is not None:
            if isinstance(item, _Aborted):
                raise item
            yield item

    async def _run(self) -> None:
        await obstore.put_async(
            self._store, self._key, self._source(), chunk_size=ObstoreBlobs.PART_BYTES, max_concurrency=2
        )


# --- idempotency -----------------------------------------------------------------------------------------

# one step, so that of many equal requests exactly one is the first (SET with NX and GET together needs Redis 7)
_CLAIM: Final = """
local earlier = redis.call('GET', KEYS[1])
if not earlier then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return earlier
"""
_FINISH: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
"""
_RENEW: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
"""
_RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
"""


@dataclass(slots=True)
class _Claim:
    keys: "RedisIdempotencyKeys | None"
    name: str
    owner: str
    finished: FinishedRequest | None = None

    async def finish(self, outcome: FinishedRequest) -> None:
        if self.keys is not None:
            await self.keys.finish(self, outcome)


class RedisIdempotencyKeys:
    """Keys with a lease while their request runs, so that a killed gateway holds none of them for long.

    Without Redis a request runs as if it had no key: an upload is still idempotent by its content, which the database
    enforces, and refusing all uploads would be worse than not noticing that a key was used for two different files.
    """

    def __init__(self, client: redis.asyncio.Redis, *, lease: timedelta, keep: timedelta) -> None:
        self._lease = lease
        self._keep = keep
        self._claim = client.register_script(_CLAIM)
        self._finish = client.register_script(_FINISH)
        self._renew = client.register_script(_RENEW)
        self._release = client.register_script(_RELEASE)

    @asynccontextmanager
    async def claim(self, scope: str, key: str) -> AsyncIterator[ClaimedKey]:
        name = f"gateway:idempotency:{scope}:{hashlib.sha256(key.encode()).hexdigest()}"
        claim = _Claim(self, name, f"running:{token_hex(16)}")
        try:
            async with asyncio.timeout(1):
                milliseconds = int(self._lease.total_seconds() * 1000)
                earlier = await self._claim([name], [claim.owner, milliseconds])
        except REDIS_TROUBLE as error:
            logger.warning("idempotency.skipped", error=type(error).__name__)
            yield _Claim(None, name, claim.owner)
            return
        if earlier is not None:
            text = earlier.decode() if isinstance(earlier, bytes) else str(earlier)
            if text.startswith("running:"):
                raise IdempotencyKeyRunning
            stored = json.loads(text)
            claim.finished = FinishedRequest(
                stored["fingerprint"], DocumentId(UUID(stored["document_id"])), stored["created"]
            )
            yield claim
            return
        renewal = asyncio.create_task(self._keep_alive(claim))
        try:
            yield claim
        finally:
            renewal.cancel()
            with suppress(*REDIS_TROUBLE):
                async with asyncio.timeout(1):
                    await self._release([name], [claim.owner])

    async def finish(self, claim: _Claim, outcome: FinishedRequest) -> None:
        """Remember what the request did; the effect is durable already, so trouble here is only logged."""
        value = json.dumps(
            {
                "fingerprint": outcome.fingerprint,
                "document_id": str(outcome.document_id),
                "created": outcome.created,
            }
        )
        try:
            async with asyncio.timeout(1):
                await self._finish([claim.name], [claim.owner, value, int(self._keep.total_seconds())])
        except REDIS_TROUBLE as error:
            logger.warning("idempotency.not_kept", error=type(error).__name__)

    async def _keep_alive(self, claim: _Claim) -> None:
        lease = self._lease.total_seconds()
        while True:
            await asyncio.sleep(lease / 3)
            with suppress(*REDIS_TROUBLE):
                async with asyncio.timeout(lease / 3):
                    await self._renew([claim.name], [claim.owner, int(lease * 1000)])


# --- progress of documents -------------------------------------------------------------------------------


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
        """Listen until cancelled."""
        pause = 0.2
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.psubscribe(self.PATTERN)
                    pause = 0.2
                    while True:
                        message = await subscription.get_message(timeout=30)
                        if message is not None:
                            channel = message["channel"]
                            self._wake(channel.decode() if isinstance(channel, bytes) else channel)
            except REDIS_TROUBLE as error:
                logger.warning("signals.waiting", error=type(error).__name__)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)

    def _wake(self, channel: str) -> None:
        for watcher in self._watchers.get(channel, ()):
            watcher.changed.set()


# --- rate limits -----------------------------------------------------------------------------------------

# A sliding window from two fixed ones: the earlier window counts by the share of it that the sliding one still covers
# (Cloudflare, "How we built rate limiting capable of scaling to millions of domains"). Every KEYS[i] is a subject with
# its limit ARGV[i + 1]; a request counts for all of them or, when one of them has no room, for none. Answers whether it
# may pass, and of the tightest subject limit, remaining and milliseconds until there is room (or the window ends).
_HIT: Final = """
local window = tonumber(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local number = math.floor(now / window)
local elapsed = now - number * window
local allowed, tightest = 1, nil
local names, states = {}, {}
for i, key in ipairs(KEYS) do
  local limit = tonumber(ARGV[i + 1])
  local name = key .. ':' .. number
  local now_count = tonumber(redis.call('GET', name) or 0)
  local before = tonumber(redis.call('GET', key .. ':' .. (number - 1)) or 0)
  local used = before * (1 - elapsed / window) + now_count
  local wait = window - elapsed
  local room = math.floor(limit - used)
  if used + 1 > limit then
    allowed = 0
    room = 0
    if now_count + 1 <= limit then
      wait = window * (1 - (limit - 1 - now_count) / before) - elapsed
    else
      wait = (window - elapsed) + window * (1 - (limit - 1) / now_count)
    end
    if tightest == nil or tightest[1] == 1 or wait > tightest[4] then tightest = {0, limit, 0, wait} end
  elseif tightest == nil or (tightest[1] == 1 and room - 1 < tightest[3]) then
    tightest = {1, limit, room - 1, wait}
  end
  names[i] = name
end
if allowed == 1 then
  for i, name in ipairs(names) do
    if redis.call('INCR', name) == 1 then redis.call('PEXPIRE', name, window * 2) end
  end
end
return {tightest[1], tightest[2], tightest[3], math.ceil(tightest[4])}
"""


@dataclass(slots=True, eq=False)
class _Hit:
    keys: list[str]
    limits: list[int]
    answer: asyncio.Future[list[int] | None]


class RedisRateLimiter:
    """Limits a user and an address in one round trip, which requests that come together share.

    It is our own script and not the `limits` library, which takes four round trips for two subjects with their figures
    and counts the one even when the other refuses.

    Fails open: a limit protects the service from too much of something good, and an outage of Redis must not become an
    outage of the product. So a round trip has `PATIENCE`, and while Redis does not answer nothing is asked of it on the
    way of a request; a background task looks whether it is back.
    """

    PATIENCE: Final = 0.1
    """Seconds for one round trip, after which Redis counts as away. It is one timer for all who wait and not one for
    each: in a burst our own loop is late, and then every request would be let pass uncounted."""
    BATCH: Final = 256

    def __init__(self, client: redis.asyncio.Redis, *, per_user: int, per_address: int, window: timedelta) -> None:
        """`per_user` and `per_address` are requests per `window`; 0 means no limit."""
        self._redis = client
        self._digest = hashlib.sha1(_HIT.encode(), usedforsecurity=False).hexdigest()
        self._per_user = per_user
        self._per_address = per_address
        self._window = int(window.total_seconds() * 1000)
        self._waiting: list[_Hit] = []
        self._sender: asyncio.Task[None] | None = None
        self._available = True
        self._recovery: asyncio.Task[None] | None = None

    async def hit(self, *, address: str, user: str | None) -> RateDecision | None:
        keys: list[str] = []
        limits: list[int] = []
        if self._per_address:
            keys.append(f"gateway:rate:address:{address}")
            limits.append(self._per_address)
        if self._per_user and user is not None:
            keys.append(f"gateway:rate:user:{user}")
            limits.append(self._per_user)
        if not keys:
            return None
        if not self._available:
            _unlimited.inc()
            return None
        hit = _Hit(keys, limits, asyncio.get_running_loop().create_future())
        self._waiting.append(hit)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())
        answer = await hit.answer
        if answer is None:
            _unlimited.inc()
            return None
        allowed, limit, remaining, wait = answer
        return RateDecision(bool(allowed), int(limit), int(remaining), timedelta(milliseconds=int(wait)))

    async def open(self) -> None:
        """Make the first connection, without haste."""
        try:
            async with asyncio.timeout(2):
                await self._redis.script_load(_HIT)
        except REDIS_TROUBLE as error:
            self._lose(error)

    async def close(self) -> None:
        for task in (self._recovery, self._sender):
            if task is not None:
                task.cancel()

    async def _send(self) -> None:
        """Send what waits; what comes meanwhile goes with the next round trip."""
        while self._waiting:
            batch, self._waiting = self._waiting[: self.BATCH], self._waiting[self.BATCH :]
            answers: Sequence[list[int] | None] = [None] * len(batch)
            try:
                async with asyncio.timeout(self.PATIENCE):
                    answers = await self._count(batch)
            except REDIS_TROUBLE as error:
                self._lose(error)
                batch += self._waiting
                answers = [None] * len(batch)
                self._waiting = []
            finally:
                for hit, answer in zip(batch, answers, strict=True):
                    if not hit.answer.done():
                        hit.answer.set_result(answer)

    async def _count(self, batch: list[_Hit]) -> list[list[int]]:
        for attempt in (1, 2):
            pipeline = self._redis.pipeline(transaction=False)
            for hit in batch:
                pipeline.evalsha(self._digest, len(hit.keys), *hit.keys, self._window, *hit.limits)
            try:
                answers: list[list[int]] = await pipeline.execute()
            except NoScriptError:  # Redis has restarted
                if attempt == 2:
                    raise
                await self._redis.script_load(_HIT)
            else:
                return answers
        raise AssertionError("unreachable")

    def _lose(self, error: BaseException) -> None:
        if not self._available:
            return
        self._available = False
        logger.warning("rate_limit.open", error=type(error).__name__)
        self._recovery = asyncio.create_task(self._recover())

    async def _recover(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            with suppress(*REDIS_TROUBLE):
                async with asyncio.timeout(2):
                    await self._redis.script_load(_HIT)
                self._available = True
                logger.info("rate_limit.closed")
                return


# --- the services behind ---------------------------------------------------------------------------------


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
