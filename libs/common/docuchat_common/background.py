"""Work that runs beside the requests of a process: relays, sweeps, listeners. The one way to start and to stop it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self

import structlog
from prometheus_client import Counter, Gauge

from docuchat_common.errors import DocuChatError, UpstreamUnavailable

logger = structlog.get_logger()

_failures = Counter("docuchat_background_failures", "Failed runs of background work.", ["task"])
_running = Gauge("docuchat_background_running", "Background tasks that are alive.", ["task"])

_LONGEST_PAUSE: Final = timedelta(seconds=2)


class Background:
    """Owns tasks while its block runs.

    Work that fails is logged, counted and run again after a pause; an outage (UpstreamUnavailable) is logged when it
    begins and when it is over. Leaving the block ends every task. What must stop before them belongs on the exit stack
    after the `Background`, which then closes later.
    """

    def __init__(self, *, first_pause: timedelta = timedelta(milliseconds=200)) -> None:
        """`first_pause` follows the first failure; each further one in a row doubles it, up to 2 s."""
        self._first_pause = first_pause
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def names(self) -> frozenset[str]:
        """The names of all work that was started."""
        return frozenset(self._tasks)

    def start(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Run `work` until it returns; a failure starts it again."""
        self._add(name, self._until_done(_Work(name, work)))

    def every(self, name: str, interval: timedelta, work: Callable[[], Awaitable[object]]) -> None:
        """Run `work` now and whenever `interval` has passed since it ended; after a failure, sooner."""
        self._add(name, self._again_and_again(_Work(name, work), interval))

    async def stop(self, name: str) -> None:
        """End the work of this name, if it was started."""
        if name in self._tasks:
            await cancel(self._tasks[name])

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

    async def _until_done(self, work: "_Work") -> None:
        pauses = _Pauses(self._first_pause, _LONGEST_PAUSE)
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            if await work.succeeds():
                return
            if loop.time() - began > _LONGEST_PAUSE.total_seconds():
                pauses.reset()  # it had been working
            await asyncio.sleep(pauses.next())

    async def _again_and_again(self, work: "_Work", interval: timedelta) -> None:
        pauses = _Pauses(self._first_pause, min(interval, _LONGEST_PAUSE))
        while True:
            if await work.succeeds():
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


class _Work:
    """A piece of work, and what it waits for."""

    def __init__(self, name: str, run: Callable[[], Awaitable[object]]) -> None:
        self._name = name
        self._run = run
        self._waits_for = ""

    async def succeeds(self) -> bool:
        """Run it once; False when it failed. A cancellation of the task ends it, even if the work swallowed it."""
        task = asyncio.current_task()
        began = time.monotonic()
        waits_for = ""
        failed = True
        try:
            await self._run()
            failed = False
        except asyncio.CancelledError:
            if task is not None and task.cancelling():
                raise
            # something that it waited for was cancelled, not this task: that must not silence it
            logger.warning("background.failed", task=self._name, reason="cancelled from within")
        except UpstreamUnavailable as error:
            waits_for = error.detail
        except DocuChatError as error:
            logger.warning("background.failed", task=self._name, reason=error.code)
        except Exception:  # work that dies would silence a part of the product
            logger.exception("background.failed", task=self._name)
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        if failed:
            _failures.labels(self._name).inc()
        if time.monotonic() - began > _LONGEST_PAUSE.total_seconds():
            self._waits_for = ""  # it had been working: an outage of before is over
        self._tell(waits_for)
        return not failed

    def _tell(self, waits_for: str) -> None:
        """Log an outage when it begins and when it is over, not at each try."""
        if waits_for and waits_for != self._waits_for:
            logger.warning("background.waiting", task=self._name, reason=waits_for)
        elif self._waits_for and not waits_for:
            logger.info("background.goes_on", task=self._name)
        self._waits_for = waits_for


def cancel(task: "asyncio.Task[Any]") -> Coroutine[Any, Any, None]:
    """End `task`, and return what waits for its end; its error, if any, was its own to log.

    The task is cancelled at once: whoever is to wait may be cancelled before that begins.
    """
    task.cancel()
    return _end_of(task)


async def _end_of(task: "asyncio.Task[Any]") -> None:
    while not task.done():
        await asyncio.wait({task}, timeout=0.5)
        # again and again: asyncio.wait_for before Python 3.12 swallows a cancellation that races its result
        task.cancel()
    if not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not report it at collection
