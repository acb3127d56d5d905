"""The one limiter: sliding windows in Redis, for requests of users and addresses as for guesses at a code."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final, Self

import structlog
from prometheus_client import Counter
from pydantic import BeforeValidator
from pydantic_settings import NoDecode
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from docuchat_common.background import cancel
from docuchat_common.durations import parse_duration
from docuchat_common.errors import RateLimited, UpstreamUnavailable
from docuchat_common.redis import NOTING, REDIS_TROUBLE, forget_keys

logger = structlog.get_logger()

_uncounted = Counter(
    "docuchat_rate_limit_uncounted", "Hits that were not counted: Redis did not answer in time.", ["limiter"]
)
_refused = Counter("docuchat_rate_limit_refused", "Hits that were refused.", ["limiter", "limit"])

_RATE: Final = re.compile(r"(\d{1,9})/(.+)", re.ASCII)
_WORDS: Final = {"second": "s", "minute": "m", "hour": "h", "day": "d"}
_WINDOW: Final = re.compile(r"(\d*)\s*(ms|s|m|h|d|second|minute|hour|day)s?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """So many hits in any window of this length."""

    amount: int
    window: timedelta


def parse_rates(text: str) -> tuple[Rate, ...]:
    """Rates like `50/m`, `5/15m;20/d` or `6/10minutes`, separated by semicolons; ValueError that shows how."""
    rates = []
    for part in text.split(";"):
        rate = _RATE.fullmatch(part.strip())
        window = _WINDOW.fullmatch(rate[2].strip()) if rate else None
        if rate is None or window is None or int(rate[1]) == 0:
            raise ValueError("must look like 5/15m or 5/15m;20/d")
        unit = _WORDS.get(window[2], window[2])
        duration = parse_duration(f"{window[1] or 1}{unit}")
        if not duration:
            raise ValueError("needs a window that is longer than nothing")
        rates.append(Rate(int(rate[1]), duration))
    return tuple(rates)


Rates = Annotated[
    tuple[Rate, ...],
    NoDecode,  # a setting's text is ours to read, not JSON
    BeforeValidator(lambda value: parse_rates(value) if isinstance(value, str) else value),
]
"""A setting, read by `parse_rates`."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A subject's rate: `name` is the kind of limit, for metrics; `subject` whose hits are counted."""

    name: str
    subject: str
    rate: Rate
    of: str = ""
    """With what it is forgotten by `RateLimiter.forget`; empty: with nothing."""


@dataclass(frozen=True, slots=True)
class RateDecision:
    """Whether a hit may pass, and what is left of the limit that is nearest to its end."""

    allowed: bool
    limit: Limit
    remaining: int
    reset_after: timedelta
    """Until there is room again, when refused; else until the window ends."""


# A sliding window from two fixed ones: the earlier window counts by the share of it that the sliding one still covers
# (Cloudflare, "How we built rate limiting capable of scaling to millions of domains"). KEYS[i] is a subject with its
# limit ARGV[3i - 1], its window ARGV[3i] in milliseconds, and ARGV[3i + 1], where its keys are named, or nothing; a hit
# of ARGV[1] counts for all of them or, when one of them has no room, for none. Answers whether it may pass, and of the
# tightest subject its number, what remains and the milliseconds until there is room (or the window ends).
_HIT: Final = (
    NOTING
    + """
local cost = tonumber(ARGV[1])
local asked = math.max(cost, 1)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local allowed, tightest = 1, nil
local names = {}
for i, key in ipairs(KEYS) do
  local limit = tonumber(ARGV[3 * i - 1])
  local window = tonumber(ARGV[3 * i])
  local number = math.floor(now / window)
  local elapsed = now - number * window
  local name = key .. ':' .. number
  local now_count = tonumber(redis.call('GET', name) or 0)
  local before = tonumber(redis.call('GET', key .. ':' .. (number - 1)) or 0)
  local used = before * (1 - elapsed / window) + now_count
  local wait = window - elapsed
  local room = math.floor(limit - used)
  if used + asked > limit then
    allowed = 0
    if now_count + asked <= limit then
      wait = window * (1 - (limit - asked - now_count) / before) - elapsed
    elseif now_count > 0 then
      wait = (window - elapsed) + window * math.max(0, 1 - (limit - asked) / now_count)
    end
    if tightest == nil or tightest[1] == 1 or wait > tightest[4] then tightest = {0, i, 0, wait} end
  elseif tightest == nil or (tightest[1] == 1 and room - cost < tightest[3]) then
    tightest = {1, i, room - cost, wait}
  end
  names[i] = {name, window, ARGV[3 * i + 1]}
end
if allowed == 1 and cost > 0 then
  for _, entry in ipairs(names) do
    if redis.call('INCRBY', entry[1], cost) == cost then redis.call('PEXPIRE', entry[1], entry[2] * 2) end
    if entry[3] ~= '' then note(entry[3], entry[1], now, entry[2] * 2) end
  end
end
return {tightest[1], tightest[2], tightest[3], math.ceil(tightest[4])}
"""
)
# Takes one hit back from each subject KEYS[i] with its window ARGV[i], out of the present window or the one before.
_GIVE_BACK: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i, key in ipairs(KEYS) do
  local number = math.floor(now / tonumber(ARGV[i]))
  for _, name in ipairs({key .. ':' .. number, key .. ':' .. (number - 1)}) do
    if tonumber(redis.call('GET', name) or 0) > 0 then
      redis.call('DECR', name)
      break
    end
  end
end
"""


@dataclass(slots=True, eq=False)
class _Hit:
    limits: tuple[Limit, ...]
    cost: int
    answer: asyncio.Future[list[int] | BaseException]


class RateLimiter:
    """Counts a hit for several subjects in one round trip, which hits that come together share.

    A limit on traffic fails open: it protects from too much of something good, and an outage of Redis must not become
    an outage of the product. A limit on guesses fails closed: then a hit raises UpstreamUnavailable. While Redis does
    not answer nothing is asked of it on the way of a request; a background task looks whether it is back.
    """

    BATCH: Final = 256

    def __init__(self, client: Redis, *, name: str, fail_open: bool, patience: timedelta) -> None:
        self._redis = client
        self._name = name
        self._fail_open = fail_open
        self._patience = patience.total_seconds()
        self._digest = hashlib.sha1(_HIT.encode(), usedforsecurity=False).hexdigest()
        self._waiting: list[_Hit] = []
        self._sender: asyncio.Task[None] | None = None
        self._trouble: BaseException | None = None
        self._recovery: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, client: Redis, *, name: str, fail_open: bool, patience: timedelta) -> AsyncIterator[Self]:
        """A limiter whose keys begin with `name`.

        `patience` bounds a round trip, after which Redis counts as away: one timer for all who wait, since in a burst
        our own loop is late, and with a timer each every hit would pass uncounted.
        """
        limiter = cls(client, name=name, fail_open=fail_open, patience=patience)
        try:
            async with asyncio.timeout(2):  # the first connection is made without haste
                await client.script_load(_HIT)
        except REDIS_TROUBLE as error:
            limiter._lose(error)
        try:
            yield limiter
        finally:
            for task in (limiter._recovery, limiter._sender):
                if task is not None:
                    await cancel(task)

    async def hit(self, *limits: Limit, cost: int = 1) -> RateDecision | None:
        """Count one hit for all `limits`, or for none when one of them has no room; a `cost` of 0 only looks.

        None when there is nothing to count, or it cannot be counted now and may pass. A limiter that fails closed
        raises UpstreamUnavailable instead.
        """
        if not limits:
            return None
        answer: list[int] | BaseException
        if self._trouble is not None:
            answer = self._trouble
        else:
            hit = _Hit(limits, cost, asyncio.get_running_loop().create_future())
            self._waiting.append(hit)
            if self._sender is None or self._sender.done():
                self._sender = asyncio.create_task(self._send())
            answer = await hit.answer
        if isinstance(answer, BaseException):
            _uncounted.labels(self._name).inc()
            if self._fail_open:
                return None
            raise UpstreamUnavailable(
                "Attempts cannot be counted now; try again shortly.", retry_after=timedelta(seconds=2)
            ) from answer
        allowed, tightest, remaining, wait = map(int, answer)
        limit = limits[tightest - 1]
        if not allowed:
            _refused.labels(self._name, limit.name).inc()
        return RateDecision(bool(allowed), limit, remaining, timedelta(milliseconds=wait))

    async def require(self, *limits: Limit, error: type[RateLimited] = RateLimited, **extensions: Any) -> None:
        """Count one hit as `hit` does. Raises `error`, which tells the `extensions`, when a limit has no room."""
        decision = await self.hit(*limits)
        if decision is not None and not decision.allowed:
            logger.warning("rate_limit.refused", limiter=self._name, limit=decision.limit.name)
            raise error(retry_after=decision.reset_after, **extensions)

    async def give_back(self, *limits: Limit) -> None:
        """Take a hit back that turned out to count for nothing; what cannot be taken back now stays counted."""
        if not limits:
            return
        keys = [self._key(limit) for limit in limits]
        windows = [int(limit.rate.window / timedelta(milliseconds=1)) for limit in limits]
        try:
            async with asyncio.timeout(self._patience):
                await self._redis.eval(_GIVE_BACK, len(keys), *keys, *windows)
        except REDIS_TROUBLE as error:
            logger.warning("rate_limit.kept", limiter=self._name, error=type(error).__name__)

    async def forget(self, *owners: str) -> int:
        """Forget what was counted of limits that are `of` them; how many keys it was. Raises UpstreamUnavailable."""
        return await forget_keys(self._redis, *map(self._names, owners))

    def _names(self, owner: str) -> str:
        return f"{self._name}:keys::{owner}"

    def _key(self, limit: Limit) -> str:
        return f"{self._name}:{limit.name}:{int(limit.rate.window / timedelta(milliseconds=1))}:{limit.subject}"

    async def _send(self) -> None:
        """Send what waits; what comes meanwhile goes with the next round trip."""
        while self._waiting:
            batch, self._waiting = self._waiting[: self.BATCH], self._waiting[self.BATCH :]
            answers: Sequence[list[int] | BaseException] = ()
            try:
                async with asyncio.timeout(self._patience):
                    answers = await self._count(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody is to wait for an answer that never comes
                self._lose(error)
            finally:
                if len(answers) != len(batch):  # nobody would send for those who wait behind either
                    batch, self._waiting = batch + self._waiting, []
                    answers = [self._trouble or UpstreamUnavailable()] * len(batch)
                for hit, answer in zip(batch, answers, strict=True):
                    if not hit.answer.done():
                        hit.answer.set_result(answer)

    async def _count(self, batch: list[_Hit]) -> list[list[int]]:
        try:
            return await self._ask(batch)
        except NoScriptError:  # Redis has restarted
            await self._redis.script_load(_HIT)
            return await self._ask(batch)

    async def _ask(self, batch: list[_Hit]) -> list[list[int]]:
        pipeline = self._redis.pipeline(transaction=False)
        for hit in batch:
            keys: list[str] = []
            arguments: list[int | str] = [hit.cost]
            for limit in hit.limits:
                window = int(limit.rate.window / timedelta(milliseconds=1))
                keys.append(self._key(limit))
                arguments += [limit.rate.amount, window, self._names(limit.of) if limit.of else ""]
            pipeline.evalsha(self._digest, len(keys), *keys, *arguments)
        answers: list[list[int]] = await pipeline.execute()
        return answers

    def _lose(self, error: BaseException) -> None:
        if self._trouble is None:
            self._trouble = error
            logger.warning("rate_limit.away", limiter=self._name, error=type(error).__name__, passes=self._fail_open)
            self._recovery = asyncio.create_task(self._recover())

    async def _recover(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            with suppress(*REDIS_TROUBLE):
                async with asyncio.timeout(2):
                    await self._redis.script_load(_HIT)
                self._trouble = None
                logger.info("rate_limit.back", limiter=self._name)
                return
