"""One way to Redis: bounded waits, one repeat after a cut connection, a client name, errors as ours."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from docuchat_common.errors import UpstreamUnavailable

REDIS_TROUBLE: Final[tuple[type[BaseException], ...]] = (RedisError, OSError, TimeoutError)
"""What a Redis that is away, frozen, full or starting looks like from here."""


@asynccontextmanager
async def open_redis(
    url: str,
    *,
    client_name: str,
    timeout: timedelta = timedelta(seconds=1),
    max_connections: int = 64,
) -> AsyncIterator[Redis]:
    """A client that gives up in time: a frozen Redis must not hold requests. It connects when first used.

    `timeout` bounds connecting, an answer, and the wait for a free connection; a reader that blocks in Redis (XREAD)
    needs a client of its own with a longer one. A connection that a restart has cut is made anew, once; a time-out is
    not tried again; a burst waits its turn.
    """
    seconds = timeout.total_seconds()
    pool = BlockingConnectionPool.from_url(
        url,
        timeout=seconds,
        max_connections=max_connections,
        protocol=2,
        client_name=client_name,
        socket_timeout=seconds,
        socket_connect_timeout=min(seconds, 1.0),
        socket_keepalive=True,
        health_check_interval=30,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    )
    client = Redis.from_pool(pool)
    try:
        yield client
    finally:
        await client.aclose()


@contextmanager
def redis_errors_translated() -> Iterator[None]:
    """Raise UpstreamUnavailable for trouble with Redis inside the block."""
    try:
        yield
    except REDIS_TROUBLE as error:
        raise UpstreamUnavailable(
            "Redis does not answer; try again shortly.", retry_after=timedelta(seconds=2)
        ) from error


async def check_redis(client: Redis) -> None:
    """Raise UpstreamUnavailable when Redis does not answer (readiness)."""
    with redis_errors_translated():
        await client.ping()


NOTING: Final = """
local function note(names, key, now, lifetime)
  redis.call('ZADD', names, now + lifetime, key)
  redis.call('ZREMRANGEBYSCORE', names, '-inf', now)
  if redis.call('PTTL', names) < tonumber(lifetime) then redis.call('PEXPIRE', names, lifetime) end
end
"""
"""Put before a script of Lua: adds a key that lives for so many milliseconds from `now` on to the `names` of those that
`forget_keys` is to find; names of what is over go."""
_NOTE: Final = f"""{NOTING}
local clock = redis.call('TIME')
note(KEYS[1], ARGV[1], clock[1] * 1000 + math.floor(clock[2] / 1000), ARGV[2])
"""
_FORGET: Final = """
local gone = 0
for _, names in ipairs(KEYS) do
  for _, name in ipairs(redis.call('ZRANGE', names, 0, -1)) do gone = gone + redis.call('UNLINK', name) end
  redis.call('UNLINK', names)
end
return gone
"""


def note_key(pipe: Pipeline, names: str, key: str, lifetime: timedelta) -> None:
    """Add a key to the `names` of those that `forget_keys` is to find without looking through all."""
    pipe.eval(_NOTE, 1, names, key, lifetime // timedelta(milliseconds=1))


async def noted_keys(client: Redis, names: str) -> list[str]:
    """What was added to `names` and is not over."""
    with redis_errors_translated():
        found: list[Any] = await client.zrange(names, 0, -1)
    return [key if isinstance(key, str) else key.decode() for key in found]


async def forget_keys(client: Redis, *names: str) -> int:
    """Delete the keys whose names were noted; returns how many."""
    if not names:
        return 0
    with redis_errors_translated():
        return int(await client.eval(_FORGET, len(names), *names))


async def erase_keys(client: Redis, *patterns: str) -> int:
    """Delete the keys that match one of some patterns, in one walk for each service; returns how many.

    A pattern begins with a service's name. In it `*` stands for one part between colons, at its end for whatever
    follows: an address of IPv6, which has colons of its own, is no other part's number.
    """
    forms = [pattern.split(":") for pattern in patterns]
    erased = 0
    with redis_errors_translated():
        for service in dict.fromkeys(form[0] for form in forms):
            async for key in client.scan_iter(match=f"{service}:*", count=1000):
                name = key if isinstance(key, str) else key.decode(errors="replace")
                if any(_fits(name, form) for form in forms):
                    erased += await client.unlink(key)
    return erased


def _fits(name: str, form: list[str]) -> bool:
    parts = name.split(":", len(form) - 1)
    return len(parts) == len(form) and all(wanted in ("*", part) for wanted, part in zip(form, parts, strict=True))
