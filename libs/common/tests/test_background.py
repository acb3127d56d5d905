"""Background work survives its failures and ends when it is told to."""

import asyncio
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from docuchat_common.background import Background, cancel
from docuchat_common.errors import UpstreamUnavailable
from docuchat_testkit.eventually import eventually

SOON = timedelta(milliseconds=1)
NEVER_AGAIN = timedelta(hours=1)


def failures(task: str) -> float:
    return REGISTRY.get_sample_value("docuchat_background_failures_total", {"task": task}) or 0.0


@pytest.mark.parametrize("error", [UpstreamUnavailable(), RuntimeError("odd"), asyncio.CancelledError()])
async def test_work_that_fails_is_counted_and_run_again_until_it_returns(error: BaseException) -> None:
    runs = 0
    done = asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise error
        done.set()

    before = failures("failing")
    async with Background(first_pause=SOON) as background:
        background.start("failing", work)
        async with asyncio.timeout(30):
            await done.wait()
    assert runs == 3
    assert failures("failing") - before == 2


async def test_an_outage_is_told_when_it_begins_and_when_it_ends_and_not_at_each_try() -> None:
    down, tries = True, 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        if down:
            raise UpstreamUnavailable("Redis does not answer.")

    with capture_logs() as logs:
        async with Background(first_pause=SOON) as background:
            background.every("waiting", SOON, work)
            await eventually(lambda: tries >= 5)
            down = False
            ended = tries
            await eventually(lambda: tries >= ended + 3)
    told = [(log["event"], log["log_level"], log.get("reason")) for log in logs]
    assert told == [
        ("background.waiting", "warning", "Redis does not answer."),
        ("background.goes_on", "info", None),
    ]


async def test_repeated_work_runs_at_once_then_at_its_interval_and_sooner_after_a_failure() -> None:
    steady, shaky = 0, 0

    async def once() -> None:
        nonlocal steady
        steady += 1

    async def fail_once() -> None:
        nonlocal shaky
        shaky += 1
        if shaky == 1:
            raise RuntimeError

    async with Background(first_pause=SOON) as background:
        background.every("steady", NEVER_AGAIN, once)
        background.every("shaky", NEVER_AGAIN, fail_once)
        await eventually(lambda: shaky == 2)
        assert steady == 1
        background.every("often", SOON, once)
        await eventually(lambda: steady >= 4)
        assert background.names == {"steady", "shaky", "often"}


async def test_leaving_ends_work_that_swallows_its_cancellation() -> None:
    started, swallowed = asyncio.Event(), 0

    async def deaf() -> None:
        nonlocal swallowed
        started.set()
        while swallowed < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1

    async with asyncio.timeout(30):
        async with Background() as background:
            background.start("deaf", deaf)
            await started.wait()
    assert swallowed == 2
    assert REGISTRY.get_sample_value("docuchat_background_running", {"task": "deaf"}) == 0


async def test_work_whose_cancellation_was_swallowed_is_not_run_again() -> None:
    runs = 0
    started = asyncio.Event()

    async def swallowing() -> None:
        nonlocal runs
        runs += 1
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    background = Background()
    background.every("swallowing", SOON, swallowing)
    await started.wait()
    async with asyncio.timeout(30):
        await background.__aexit__(None, None, None)
    assert runs == 1


async def test_two_pieces_of_work_cannot_share_a_name() -> None:
    async def idle() -> None:
        await asyncio.Event().wait()

    async with Background() as background:
        background.start("one", idle)
        with pytest.raises(ValueError, match="'one' was started before"):
            background.start("one", idle)


async def test_cancelling_a_task_waits_for_its_end_and_leaves_its_error_to_it() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("at the end")

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await cancel(task)
    assert task.done()


async def test_a_task_is_ended_though_whoever_ends_it_is_cancelled_before_the_wait_begins() -> None:
    task = asyncio.create_task(asyncio.Event().wait())
    await asyncio.sleep(0)
    waiting = asyncio.gather(cancel(task))
    waiting.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait({task})
    assert task.cancelled()
