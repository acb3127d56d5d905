"""The worker's side of extraction: a pool of parser processes that are started ahead, watched, recycled and killed.

A fresh interpreter is spawned (nothing of the worker's memory or secrets is in it: not forked, no environment),
limited in address space by itself and in processor time, wall time and resident memory from here. It answers page
window by page window, so the worker never holds a whole parsed file, and a full pipe slows the parser down by itself.
"""

import asyncio
import contextlib
import json
import os
import signal
import struct
import sys
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from docuchat_ingest.reading.errors import ParserStarved, Unreadable
from docuchat_ingest.reading.formats import Facts, Heading, PageText, Problem

_CHILD = "docuchat_ingest.reading.process.child"
_HEADER = struct.Struct(">I")
_MAX_FRAME_BYTES = 64 * 1024 * 1024
_WATCH_SECONDS = 0.05
_START_SECONDS = 20.0
_MEGABYTE = 1024 * 1024
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ParserLimits:
    """What one document may cost before its parser is killed, and when a parser is replaced."""

    max_pages: int = 500
    memory_megabytes: int = 512
    cpu_seconds: float = 20.0
    wall_seconds: float = 28.0
    documents_per_process: int = 200
    recycle_above_megabytes: int = 160


@dataclass(frozen=True, slots=True)
class PageWindow:
    """The pages that follow on the window before; `page_count` and `facts` are the document's."""

    page_count: int
    pages: Sequence[PageText]
    facts: Facts = field(default_factory=Facts)


class ParserPool:
    """Parser processes for at most `size` documents at once; one stands ready while the worker is idle."""

    def __init__(self, size: int, limits: ParserLimits) -> None:
        self._limits = limits
        self._slots = asyncio.Semaphore(size)
        self._idle: list[_Parser] = []
        self._alive: set[_Parser] = set()
        self._starting: asyncio.Task[None] | None = None
        self._closed = False
        self.peak_megabytes = 0
        """Most resident memory that a parser was seen with."""

    async def __aenter__(self) -> Self:
        self._start_ahead()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        if self._starting:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await asyncio.gather(*(parser.kill() for parser in list(self._alive)))

    async def read(self, path: Path, media_type: str) -> AsyncGenerator[PageWindow, None]:
        """Windows of page texts in order. Raises Unreadable with the reason, or ParserStarved.

        Close the iterator (`contextlib.aclosing`) to stop early; the parser is then killed.
        """
        async with self._slots:
            parser = await self._take()
            try:
                async with contextlib.aclosing(parser.read(path, media_type, self._limits)) as windows:
                    async for window in windows:
                        yield window
            finally:
                await self._give_back(parser)

    async def _take(self) -> "_Parser":
        if not self._idle and self._starting:
            await asyncio.shield(self._starting)
        while self._idle:
            parser = self._idle.pop()
            if parser.is_alive:
                return parser
            await self._drop(parser)
        return await self._start()

    async def _give_back(self, parser: "_Parser") -> None:
        self.peak_megabytes = max(self.peak_megabytes, parser.peak_megabytes)
        limits = self._limits
        fit = parser.is_alive and not parser.busy and parser.documents < limits.documents_per_process
        if fit and parser.peak_megabytes < limits.recycle_above_megabytes and not self._closed:
            self._idle.append(parser)
            return
        await self._drop(parser)
        self._start_ahead()

    async def _start(self) -> "_Parser":
        parser = await _Parser.start(self._limits.memory_megabytes)
        self._alive.add(parser)
        return parser

    async def _drop(self, parser: "_Parser") -> None:
        self._alive.discard(parser)
        await parser.kill()

    def _start_ahead(self) -> None:
        if self._closed or self._idle or (self._starting and not self._starting.done()):
            return
        self._starting = asyncio.create_task(self._start_one_ahead())

    async def _start_one_ahead(self) -> None:
        with contextlib.suppress(OSError, TimeoutError, Unreadable):  # the next document tries again and tells
            self._idle.append(await self._start())


class _Parser:
    """One child process and the conversation with it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.documents = 0
        self.peak_megabytes = 0
        self.busy = False
        self._verdict: str | None = None

    @classmethod
    async def start(cls, memory_megabytes: int) -> Self:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            _CHILD,
            str(memory_megabytes * _MEGABYTE),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"LANG": "C.UTF-8"},
            start_new_session=True,  # the terminal's Ctrl-C is for the worker, which then drains
            limit=2 * _MEGABYTE,
        )
        parser = cls(process)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await parser._receive()
        except BaseException:
            await parser.kill()
            raise
        return parser

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def kill(self) -> None:
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()

    async def read(self, path: Path, media_type: str, limits: ParserLimits) -> AsyncGenerator[PageWindow, None]:
        self.busy = True
        self.documents += 1
        self._verdict = None
        watch = asyncio.create_task(self._watch(limits))
        page_count, facts = 0, Facts()
        try:
            await self._ask({"path": os.fspath(path), "media_type": media_type, "max_pages": limits.max_pages})
            while True:
                frame = await self._receive()
                self.peak_megabytes = max(self.peak_megabytes, int(frame.get("rss", 0)))
                if code := frame.get("failed"):
                    self.busy = False
                    raise Unreadable(str(code))
                if "pages" in frame:
                    page_count, facts = int(frame["pages"]), _facts(frame.get("facts"), int(frame["pages"]))
                if texts := frame.get("texts"):
                    problems = frame.get("problems") or {}
                    pages = [_page(text, problems.get(str(n))) for n, text in enumerate(texts)]
                    yield PageWindow(page_count, pages, facts)
                if frame.get("done"):
                    self.busy = False
                    return
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _ask(self, request: dict[str, object]) -> None:
        stdin = self._process.stdin
        if stdin is None:
            raise RuntimeError("the parser was started without a pipe")
        with contextlib.suppress(ConnectionError):  # then the answer's end tells
            stdin.write(json.dumps(request).encode() + b"\n")
            await stdin.drain()

    async def _receive(self) -> dict[str, Any]:
        stdout = self._process.stdout
        if stdout is None:
            raise RuntimeError("the parser was started without a pipe")
        try:
            (size,) = _HEADER.unpack(await stdout.readexactly(_HEADER.size))
            if size > _MAX_FRAME_BYTES:
                await self.kill()
                raise Unreadable("parser_crashed")
            frame: dict[str, Any] = json.loads(await stdout.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
            await self.kill()
            raise self._explain_end() from error
        return frame

    def _explain_end(self) -> Exception:
        if self._verdict == "starved":
            return ParserStarved()
        if self._verdict:
            return Unreadable(self._verdict)
        return Unreadable("parser_crashed")

    async def _watch(self, limits: ParserLimits) -> None:
        """Kill the parser when it exceeds a limit; `_verdict` tells why it then ended.

        When an allocation fails, PDFium ends its process with a trap that looks like any crash; so a parser that was
        last seen close to its limit is counted as out of memory.
        """
        loop = asyncio.get_running_loop()
        started, cpu_before = loop.time(), _cpu_seconds(self._process.pid)
        size_limit = limits.memory_megabytes * _MEGABYTE
        interval = 0.005
        while True:
            await asyncio.sleep(interval)
            interval = min(_WATCH_SECONDS, interval * 1.5)
            size, resident = _memory_bytes(self._process.pid)
            self.peak_megabytes = max(self.peak_megabytes, resident // _MEGABYTE)
            if size > 0.8 * size_limit:
                self._verdict = "parser_out_of_memory"
            if resident > 0.95 * size_limit:
                return self._end("parser_out_of_memory")
            cpu, wall = _cpu_seconds(self._process.pid) - cpu_before, loop.time() - started
            if cpu > limits.cpu_seconds:
                return self._end("parser_timeout")
            if wall > limits.wall_seconds:
                return self._end("parser_timeout" if cpu > 0.25 * wall else "starved")

    def _end(self, verdict: str) -> None:
        self._verdict = verdict
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)


def _page(text: object, problem: object) -> PageText:
    """A page out of a frame; the child is not trusted with its form."""
    return PageText(str(text), next((known for known in Problem if known == problem), None))


def _facts(told: Any, pages: int) -> Facts:
    """Facts out of a frame, as far as they have the right form."""
    try:
        headings = [Heading(int(each["page"]), tuple(map(_plain, each["path"]))) for each in told["headings"]]
        return Facts(
            title=_plain(told["title"]),
            author=_plain(told["author"]),
            labels=tuple(map(_plain, told["labels"]))[:pages],
            headings=tuple(heading for heading in headings if 1 <= heading.page <= pages and heading.path),
            attachments=tuple(map(_plain, told["attachments"])),
            complete=told["complete"] is True,
        )
    except (TypeError, KeyError, ValueError):
        return Facts(complete=False)


def _plain(text: object) -> str:
    """What a table can hold: neither zeros nor halves of letters."""
    return str(text).replace("\0", "").encode("utf-8", "replace").decode()


def _memory_bytes(pid: int) -> tuple[int, int]:
    """Address space and resident memory; zeros when the process is gone."""
    try:
        size, resident = Path(f"/proc/{pid}/statm").read_text().split()[:2]
    except (OSError, ValueError):
        return 0, 0
    return int(size) * _PAGE_BYTES, int(resident) * _PAGE_BYTES


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS
