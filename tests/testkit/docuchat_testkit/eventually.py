"""Waiting for a fact instead of sleeping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")
_LONGEST_PAUSE = 0.5


@overload
async def eventually(check: Callable[[], Awaitable[T]], timeout: float = ..., interval: float = ...) -> T: ...


@overload
async def eventually(check: Callable[[], T], timeout: float = ..., interval: float = ...) -> T: ...


async def eventually(check: Callable[[], Any], timeout: float = 10.0, interval: float = 0.02) -> Any:
    """Call `check` until it neither raises nor returns False, and give its result.

    At the timeout (seconds) the last failure is raised as it was, so that the assertion's own message is read. The
    pause between two tries grows from `interval` to half a second.
    """
    deadline = time.monotonic() + timeout
    while True:
        failure: Exception
        try:
            outcome = check()
            result = await outcome if inspect.isawaitable(outcome) else outcome
            if result is not False:
                return result
            failure = TimeoutError(f"{check!r} still said False after {timeout:g} s.")
        except Exception as error:
            failure = error
        if time.monotonic() + interval > deadline:
            raise failure
        await asyncio.sleep(interval)
        interval = min(interval * 1.5, _LONGEST_PAUSE)


def eventually_sync(check: Callable[[], T], timeout: float = 10.0, interval: float = 0.02) -> T:
    """`eventually` for tests that run no event loop."""
    deadline = time.monotonic() + timeout
    while True:
        failure: Exception
        try:
            result = check()
            if result is not False:
                return result
            failure = TimeoutError(f"{check!r} still said False after {timeout:g} s.")
        except Exception as error:
            failure = error
        if time.monotonic() + interval > deadline:
            raise failure
        time.sleep(interval)
        interval = min(interval * 1.5, _LONGEST_PAUSE)
