"""A limiter counts exactly, for all subjects of a hit or for none, and knows what to do without Redis."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from docuchat_common.errors import RateLimited, UpstreamUnavailable
from docuchat_common.rate_limits import Limit, Rate, RateDecision, RateLimiter, parse_rates
from docuchat_common.redis import open_redis
from docuchat_testkit.eventually import SLOWLY, eventually

HOUR = timedelta(hours=1)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    async with open_redis(redis_url, client_name="test", timeout=SLOWLY) as client:
        yield client


@pytest.fixture
async def limiter(client: Redis) -> AsyncIterator[RateLimiter]:
    async with RateLimiter.open(client, name="test", fail_open=False, patience=SLOWLY) as limiter:
        yield limiter


async def decide(limiter: RateLimiter, *limits: Limit, cost: int = 1) -> RateDecision:
    decision = await limiter.hit(*limits, cost=cost)
    assert decision is not None
    return decision


async def test_hits_that_come_together_are_counted_exactly(limiter: RateLimiter) -> None:
    limit = Limit("user", "a", Rate(50, HOUR))
    decisions = await asyncio.gather(*(decide(limiter, limit) for _ in range(60)))
    assert sum(decision.allowed for decision in decisions) == 50
    assert not (await decide(limiter, limit)).allowed
    assert (await decide(limiter, Limit("user", "b", Rate(50, HOUR)))).remaining == 49


async def test_a_hit_that_one_subject_refuses_counts_for_none(limiter: RateLimiter) -> None:
    user, address = Limit("user", "a", Rate(1, HOUR)), Limit("address", "x", Rate(10, HOUR))
    assert (await decide(limiter, user, address)).allowed
    for _ in range(5):
        refused = await decide(limiter, user, address)
        assert (refused.allowed, refused.limit) == (False, user)
        assert timedelta(0) < refused.reset_after <= 2 * HOUR
    assert (await decide(limiter, address)).remaining == 8


async def test_a_try_that_has_no_room_is_refused_and_says_when_there_is(limiter: RateLimiter) -> None:
    limit = Limit("guess", "a", Rate(1, HOUR))
    await limiter.require(limit)
    with pytest.raises(RateLimited) as refused:
        await limiter.require(limit, limit=1)
    assert refused.value.extensions == {"limit": 1}
    assert refused.value.retry_after and timedelta(0) < refused.value.retry_after <= 2 * HOUR


async def test_what_is_counted_is_forgotten(limiter: RateLimiter, client: Redis) -> None:
    await decide(limiter, Limit("user", "a", Rate(50, HOUR)))
    lives = [await client.pttl(key) for key in await client.keys("test:*")]
    assert len(lives) == 1
    assert all(3_600_000 < life <= 2 * 3_600_000 for life in lives)


async def test_a_look_costs_nothing_and_a_dear_hit_its_cost(limiter: RateLimiter) -> None:
    limit = Limit("guess", "a", Rate(3, HOUR))
    assert (await decide(limiter, limit, cost=0)).remaining == 3
    assert (await decide(limiter, limit, cost=2)).remaining == 1
    assert not (await decide(limiter, limit, cost=2)).allowed
    assert (await decide(limiter, limit)).allowed
    assert not (await decide(limiter, limit, cost=0)).allowed


async def test_each_of_several_rates_of_a_subject_holds(limiter: RateLimiter) -> None:
    limits = [Limit("send", "a", rate) for rate in parse_rates("2/h;3/d")]
    allowed = [(await decide(limiter, *limits)).allowed for _ in range(3)]
    assert allowed == [True, True, False]
    assert (await decide(limiter, limits[1])).allowed


async def test_room_comes_back_when_the_window_has_moved_on(limiter: RateLimiter) -> None:
    limit = Limit("user", "a", Rate(2, timedelta(milliseconds=200)))

    async def refused() -> bool:
        return not (await decide(limiter, limit)).allowed

    await eventually(refused)

    async def allowed() -> bool:
        return (await decide(limiter, limit)).allowed

    await eventually(allowed)


async def test_the_share_of_the_window_before_that_is_still_covered_counts(limiter: RateLimiter, client: Redis) -> None:
    rate = Rate(10, timedelta(days=30))
    seconds, _ = await client.time()
    before = int(seconds / rate.window.total_seconds()) - 1
    milliseconds = int(rate.window / timedelta(milliseconds=1))
    # so many that also the last second of a window would be refused
    await client.set(f"test:user:{milliseconds}:a:{before}", 10**9)
    refused = await decide(limiter, Limit("user", "a", rate))
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert (await decide(limiter, Limit("user", "b", rate))).allowed


async def test_a_redis_that_forgot_its_scripts_still_counts(limiter: RateLimiter, client: Redis) -> None:
    limit = Limit("user", "a", Rate(2, HOUR))
    await decide(limiter, limit)
    await client.script_flush()
    assert (await decide(limiter, limit)).remaining == 0


@pytest.mark.parametrize("fail_open", [True, False])
async def test_without_redis_traffic_passes_and_guesses_do_not(fail_open: bool) -> None:
    limit = Limit("user", "a", Rate(1, HOUR))
    async with (
        open_redis("redis://127.0.0.1:1/0", client_name="test") as nowhere,
        RateLimiter.open(nowhere, name="test", fail_open=fail_open, patience=SLOWLY) as limiter,
    ):
        for _ in range(3):
            if fail_open:
                assert await limiter.hit(limit) is None
            else:
                with pytest.raises(UpstreamUnavailable):
                    await limiter.hit(limit)


async def test_counting_goes_on_when_redis_is_back(client: Redis) -> None:
    away = [True]

    class Shaky:
        """Redis behind a cable that is pulled."""

        async def script_load(self, script: str) -> object:
            if away[0]:
                raise ConnectionError
            return await client.script_load(script)

        def pipeline(self, *, transaction: bool) -> object:
            return client.pipeline(transaction=transaction)

    async with RateLimiter.open(Shaky(), name="test", fail_open=True, patience=SLOWLY) as limiter:
        limit = Limit("user", "a", Rate(5, HOUR))
        assert await limiter.hit(limit) is None
        away[0] = False

        async def counted() -> bool:
            return await limiter.hit(limit) is not None

        await eventually(counted)


async def test_who_waits_behind_a_batch_is_answered_whatever_happens_to_it(
    limiter: RateLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def broken(_: object) -> list[list[int]]:
        began.set()
        await go_on.wait()
        raise ValueError("a bug")

    monkeypatch.setattr(limiter, "_count", broken)
    limit = Limit("user", "a", Rate(2, HOUR))
    first = asyncio.create_task(limiter.hit(limit))
    await began.wait()
    behind = asyncio.create_task(limiter.hit(limit))
    await asyncio.sleep(0)
    go_on.set()
    async with asyncio.timeout(30):
        answers = await asyncio.gather(first, behind, return_exceptions=True)
    assert [type(answer) for answer in answers] == [UpstreamUnavailable] * 2


async def test_nothing_to_count_passes(limiter: RateLimiter) -> None:
    assert await limiter.hit() is None


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("50/m", [(50, 60)]),
        ("5/15m;20/d", [(5, 900), (20, 86400)]),
        ("6/10minutes;30/day", [(6, 600), (30, 86400)]),
        ("1 / 1s".replace(" ", ""), [(1, 1)]),
    ],
)
def test_rates_are_read(text: str, rates: list[tuple[int, int]]) -> None:
    assert [(rate.amount, rate.window.total_seconds()) for rate in parse_rates(text)] == rates


@pytest.mark.parametrize("text", ["", "5", "0/m", "5/", "5/0s", "5/fortnight", "5/m;", "-1/m"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must look like 5/15m or 5/15m;20/d|longer than nothing"):
        parse_rates(text)


async def test_a_hit_that_is_given_back_was_none(limiter: RateLimiter) -> None:
    limits = [Limit("user", "a", Rate(2, HOUR)), Limit("address", "b", Rate(5, HOUR))]
    for _ in range(4):
        assert (await decide(limiter, *limits)).allowed
        await limiter.give_back(*limits)
    await limiter.give_back(*limits)  # nothing is left, and nothing is owed
    assert [(await decide(limiter, *limits)).allowed for _ in range(3)] == [True, True, False]
