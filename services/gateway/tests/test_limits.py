"""The rate limit, on a real Redis."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import redis.asyncio
from services.gateway.tests.conftest import OpenGateway

from docuchat_gateway.adapters.rate_limit import RedisRateLimiter
from docuchat_testkit.eventually import eventually
from docuchat_testkit.servers import TestServers


async def test_a_user_has_so_many_requests_a_minute(open_gateway: OpenGateway) -> None:
    async with open_gateway(rate_limit_per_minute=5) as gateway:
        responses = [await gateway.call("GET", "/v1/chats", headers=gateway.headers()) for _ in range(6)]
        other = await gateway.call("GET", "/v1/chats", headers=gateway.mint.headers())
        health = [await gateway.call("GET", "/livez") for _ in range(10)]

        assert [response.status for response in responses] == [200] * 5 + [429]
        assert [response.headers["RateLimit-Remaining"] for response in responses] == list("432100")
        assert responses[0].headers["RateLimit-Limit"] == "5"
        assert 1 <= int(responses[0].headers["RateLimit-Reset"]) <= 60
        refused = responses[-1]
        assert (await refused.json())["code"] == "rate_limited"
        assert 1 <= int(refused.headers["Retry-After"]) <= 120
        assert other.status == 200
        assert {response.status for response in health} == {200}


async def test_an_address_has_a_limit_of_its_own(open_gateway: OpenGateway) -> None:
    async with open_gateway(rate_limit_per_address=3) as gateway:
        statuses = [(await gateway.call("GET", "/v1/chats")).status for _ in range(4)]
        assert statuses == [401, 401, 401, 429]


async def test_the_window_slides_and_many_at_once_are_counted_exactly(redis_url: str) -> None:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        limiter = RedisRateLimiter(client, per_user=10, per_address=0, window=timedelta(seconds=1))
        await limiter.open()
        decisions = await asyncio.gather(*(limiter.hit(address="a", user="u") for _ in range(40)))
        allowed = [decision for decision in decisions if decision is not None and decision.allowed]
        refused = [decision for decision in decisions if decision is not None and not decision.allowed]

        assert 10 <= len(allowed) <= 12  # a window may end in between
        wait = max(decision.reset_after for decision in refused)
        began = time.monotonic()

        async def passes() -> None:
            decision = await limiter.hit(address="a", user="u")
            assert decision is not None
            assert decision.allowed

        await eventually(passes, timeout=3)
        assert time.monotonic() - began <= wait.total_seconds() + 0.6


async def _is_open(limiter: RedisRateLimiter) -> bool:
    return await limiter.hit(address="a", user="u") is None


async def test_while_redis_is_away_requests_pass_and_counting_returns_by_itself(
    breakable_servers: TestServers,
) -> None:
    assert breakable_servers.redis is not None
    async with redis.asyncio.Redis.from_url(breakable_servers.redis_url) as client:
        limiter = RedisRateLimiter(client, per_user=10, per_address=0, window=timedelta(minutes=1))
        await limiter.open()
        assert await limiter.hit(address="a", user="u") is not None
        breakable_servers.redis.freeze()
        try:
            await eventually(lambda: _is_open(limiter))
            began = time.monotonic()
            during = [await limiter.hit(address="a", user="u") for _ in range(100)]
            waited = time.monotonic() - began
        finally:
            breakable_servers.redis.thaw()

        assert during == [None] * 100
        assert waited < 0.5

        async def counts() -> bool:
            return await limiter.hit(address="a", user="u") is not None

        await eventually(counts, timeout=5)
        await limiter.close()


async def test_junk_tokens_of_an_address_do_not_refuse_the_signed_in_user_behind_it(open_gateway: OpenGateway) -> None:
    async with open_gateway(rate_limit_per_address=3, rate_limit_per_minute=3) as gateway:
        junk = {"Authorization": "Bearer x.y.z"}
        statuses = [(await gateway.call("GET", "/v1/chats", headers=junk)).status for _ in range(5)]
        mine = [(await gateway.call("GET", "/v1/chats", headers=gateway.headers())).status for _ in range(4)]

        assert statuses == [401, 401, 401, 429, 429]
        assert mine == [200, 200, 200, 429]
