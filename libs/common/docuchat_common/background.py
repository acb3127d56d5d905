"""Work that runs beside the requests of a process: relays, sweeps, listeners. The one way to start and to stop it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self

import structlog
from prometheus_client import Counter, Gauge

from docuchat_common.errors import DocuChatError, UpstreamUnavailable

logger = structlog.get_logger()

_failures = Counter("docuchat_background_failures", "Failed runs of background work.", ["task"])
_running = Gauge("docuchat_background_running", "Background tasks that are alive.", ["task"])

_LONGEST_PAUSE: Final = timedelta(seconds=5)


class Background:
    """Owns tasks while its block runs.

    Work that fails is logged, counted and run again after a pause; leaving the block ends every task. What must stop
    before them belongs on the exit stack after the `Background`, which then closes later.
    """

    def __init__(self, *, first_pause: timedelta = timedelta(milliseconds=200)) -> None:
        """`first_pause` follows the first failure; each further one in a row doubles it, up to 5 s."""
        self._first_pause = first_pause
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def names(self) -> frozenset[str]:
        """The names of all work that was started."""
        return frozenset(self._tasks)

    def start(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Run `work` until it returns; a failure starts it again."""
        self._add(name, self._until_done(name, work))

    def every(self, name: str, interval: timedelta, work: Callable[[], Awaitable[object]]) -> None:
        """Run `work` now and whenever `interval` has passed since it ended; after a failure, sooner."""
        self._add(name, self._again_and_again(name, interval, work))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.gather(*(cancel(task) for task in self._tasks.values()))

    def _add(self, name: str, work: Any) -> None:
        if name in self._tasks:
            work.close()
            raise ValueError(f"background work named {name!r} was started before")
        self._tasks[name] = task = asyncio.create_task(work, name=name)
        _running.labels(name).inc()
        task.add_done_callback(lambda _: _running.labels(name).dec())

    async def _until_done(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        pauses = _Pauses(self._first_pause, _LONGEST_PAUSE)
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            if await _succeeds(name, work):
                return
            if loop.time() - began > _LONGEST_PAUSE.total_seconds():
                pauses.reset()  # it had been working
            await asyncio.sleep(pauses.next())

    async def _again_and_again(self, name: str, interval: timedelta, work: Callable[[], Awaitable[object]]) -> None:
        pauses = _Pauses(self._first_pause, min(interval, _LONGEST_PAUSE))
        while True:
            if await _succeeds(name, work):
                pauses.reset()
                await asyncio.sleep(interval.total_seconds())
            else:
                await asyncio.sleep(pauses.next())


class _Pauses:
    """Pauses that double."""

    def __init__(self, first: timedelta, longest: timedelta) -> None:
        self._first = min(first, longest).total_seconds()
        self._longest = longest.total_seconds()
        self._next = self._first

    def next(self) -> float:
        pause, self._next = self._next, min(self._next * 2, self._longest)
        return pause

    def reset(self) -> None:
        self._next = self._first


async def _succeeds(name: str, work: Callable[[], Awaitable[object]]) -> bool:
    """Run `work` once; False when it failed. A cancellation of the task ends it, even if `work` swallowed it."""
    task = asyncio.current_task()
    try:
        await work()
        failed = False
    except asyncio.CancelledError:
        if task is not None and task.cancelling():
            raise
        # something that `work` waited for was cancelled, not this task: that must not silence it
        failed = True
        logger.warning("background.failed", task=name, reason="cancelled from within")
    except UpstreamUnavailable as error:
        failed = True
        logger.warning("background.waiting", task=name, reason=error.detail)
    except DocuChatError as error:
        failed = True
        logger.warning("background.failed", task=name, reason=error.code)
    except Exception:  # work that dies would silence a part of the product
        failed = True
        logger.exception("background.failed", task=name)
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    if failed:
        _failures.labels(name).inc()
    return not failed


async def cancel(task: "asyncio.Task[Any]") -> None:
    """End `task` and wait for its end; its error, if any, was its own to log."""
    # again and again: asyncio.wait_for before Python 3.12 swallows a cancellation that races its result
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.5)
    if not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not report it at collection
