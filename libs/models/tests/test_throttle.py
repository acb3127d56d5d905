"""A provider that asks for a pause holds all workers of the account back, within bounds."""

from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from redis.asyncio import Redis

from docuchat_common.errors import RateLimited
from docuchat_models.providers import read_retry_after
from docuchat_models.throttle import Account, RedisThrottle, end_pauses, list_pauses

from .fakes import Provider

ACCOUNT = Account("http://provider.test/v1", "one key")
OTHER_ACCOUNT = Account("http://provider.test/v1", "another key")


async def test_a_limit_of_the_provider_holds_all_workers_back(redis_url):
    async with Redis.from_url(redis_url) as redis:
        first = Provider(httpx2.Response(429, headers={"retry-after": "30"}, json={"error": {"message": "slow"}}))
        second = Provider()
        with pytest.raises(RateLimited) as limited:
            await first.embedder(RedisThrottle(redis, ACCOUNT)).embed(["x"])
        assert limited.value.retry_after == timedelta(seconds=30)
        with pytest.raises(RateLimited) as held:
            await second.embedder(RedisThrottle(redis, ACCOUNT)).embed(["x"])
        assert timedelta(seconds=20) < held.value.retry_after <= timedelta(seconds=30)
        assert second.requests == []
        await second.embedder(RedisThrottle(redis, OTHER_ACCOUNT)).embed(["x"])


async def test_a_longer_pause_stays_and_a_short_one_is_sat_out(redis_url):
    async with Redis.from_url(redis_url) as redis:
        throttle = RedisThrottle(redis, ACCOUNT)
        await throttle.pause(timedelta(milliseconds=80))
        await throttle.pause(timedelta(milliseconds=1))
        assert await throttle.remaining_pause() > timedelta(milliseconds=1)
        provider = Provider()
        await provider.embedder(throttle).embed(["x"])
        assert await throttle.remaining_pause() == timedelta(0)


@pytest.mark.parametrize("asked", ["99999999999", "1e400", "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_no_pause_is_longer_than_the_longest(redis_url, asked):
    async with Redis.from_url(redis_url) as redis:
        throttle = RedisThrottle(redis, ACCOUNT)
        provider = Provider(httpx2.Response(429, headers={"retry-after": asked}, json={}))
        with pytest.raises(RateLimited) as limited:
            await provider.embedder(throttle, longest_pause=timedelta(minutes=3)).embed(["x"])
        assert limited.value.retry_after == timedelta(minutes=3)
        assert timedelta(0) < await throttle.remaining_pause() <= timedelta(minutes=3)
        await throttle.pause(timedelta(days=1_000_000))
        assert await throttle.remaining_pause() <= timedelta(minutes=10)


@pytest.mark.parametrize("asked", ["nan", "-5", "soon", "", "-1e400"])
def test_a_pause_that_cannot_be_meant_is_none(asked):
    assert read_retry_after({"retry-after": asked}) in (None, timedelta(0))


async def test_pauses_are_listed_with_their_end_and_can_be_ended(redis_url):
    async with Redis.from_url(redis_url) as redis:
        first, second = RedisThrottle(redis, ACCOUNT), RedisThrottle(redis, OTHER_ACCOUNT)
        await first.pause(timedelta(minutes=5))
        await second.pause(timedelta(minutes=1))
        pauses = await list_pauses(redis)
        assert [(pause.account_id, pause.provider) for pause in pauses] == [
            (ACCOUNT.id, "provider.test"),
            (OTHER_ACCOUNT.id, "provider.test"),
        ]
        assert timedelta(minutes=4) < pauses[0].until - datetime.now(UTC) <= timedelta(minutes=5)
        assert await end_pauses(redis, ACCOUNT.id) == 1
        assert await first.remaining_pause() == timedelta(0) < await second.remaining_pause()
        assert await end_pauses(redis) == 1
        assert await list_pauses(redis) == []


async def test_without_redis_nobody_is_held_back():
    async with Redis.from_url("redis://127.0.0.1:1", socket_connect_timeout=1) as redis:
        throttle = RedisThrottle(redis, ACCOUNT)
        await throttle.pause(timedelta(minutes=1))
        assert await throttle.remaining_pause() == timedelta(0)
