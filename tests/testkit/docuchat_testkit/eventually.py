"""Waiting for a fact instead of sleeping."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar, overload

T = TypeVar("T")
_LONGEST_PAUSE = 0.5
_SECONDS = float(os.environ.get("EVENTUALLY_SECONDS", "60"))
"""Longer than any machine that still works stands still: who waits in vain is told late, but never wrongly."""
SLOWLY = timedelta(seconds=20)
"""What a test grants the client of a server that is up, on a machine that may be busy."""


@overload
async def eventually(check: Callable[[], Awaitable[T]], timeout: float = ..., interval: float = ...) -> T: ...


@overload
async def eventually(check: Callable[[], T], timeout: float = ..., interval: float = ...) -> T: ...


async def eventually(check: Callable[[], Any], timeout: float = _SECONDS, interval: float = 0.02) -> Any:
    """Call `check` until it is fulfilled, and give its result.

    A check either asserts, and is declared `-> None`, or returns something true: what is None, 0, empty or False by any
    other declaration is not there yet.

    At the timeout (seconds) the last failure is raised as it was, so that the assertion's own message is read. The
    pause between two tries grows from `interval` to half a second.
    """
    deadline = time.monotonic() + timeout
    while True:
        failure: Exception
        try:
            outcome = check()
            result = await outcome if inspect.isawaitable(outcome) else outcome
            if _is_fulfilled(check, result):
                return result
            failure = TimeoutError(f"{check!r} still gave {result!r} after {timeout:g} s.")
        except Exception as error:
            failure = error
        if time.monotonic() + interval > deadline:
            raise failure
        await asyncio.sleep(interval)
        interval = min(interval * 1.5, _LONGEST_PAUSE)


def eventually_sync(check: Callable[[], T], timeout: float = _SECONDS, interval: float = 0.02) -> T:
    """`eventually` for tests that run no event loop."""
    deadline = time.monotonic() + timeout
    while True:
        failure: Exception
        try:
            result = check()
            if _is_fulfilled(check, result):
                return result
            failure = TimeoutError(f"{check!r} still gave {result!r} after {timeout:g} s.")
        except Exception as error:
            failure = error
        if time.monotonic() + interval > deadline:
            raise failure
        time.sleep(interval)
        interval = min(interval * 1.5, _LONGEST_PAUSE)


def _is_fulfilled(check: Callable[..., Any], result: Any) -> bool:
    if result is not None:
        return bool(result)
    while isinstance(check, functools.partial):
        check = check.func
    return inspect.signature(check).return_annotation in {None, "None"}
