"""The sliding-window rate limit, in Redis."""

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import redis.asyncio
import structlog
from prometheus_client import Counter
from redis.exceptions import NoScriptError

from docuchat_common.redis import REDIS_TROUBLE
from docuchat_gateway.edge.ports import RateDecision

logger = structlog.get_logger()

_unlimited = Counter(
    "docuchat_rate_limit_skipped", "Requests that passed uncounted, because Redis did not answer in time."
)


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

    async def hit(self, *, address: str | None = None, user: str | None = None) -> RateDecision | None:
        keys: list[str] = []
        limits: list[int] = []
        if self._per_address and address is not None:
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
