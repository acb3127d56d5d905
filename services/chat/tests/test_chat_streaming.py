"""The response of server-sent events, spoken to as a server does."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from docuchat_chat.turns.streaming import PING, EventStream
from docuchat_testkit.clock import leap
from docuchat_testkit.eventually import eventually

SCOPE: dict[str, Any] = {"type": "http"}


class Wire:
    """A client's end: what was sent, whether it reads, when it leaves."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.ended = False
        self.left = asyncio.Event()
        self.unread: bytes | None = None
        """The body that it does not take before it `reads`; `waits` tells that it is there."""
        self.waits, self.reads = asyncio.Event(), asyncio.Event()

    async def send(self, message: Any) -> None:
        if self.unread is not None and message.get("body") == self.unread:
            self.waits.set()
            await self.reads.wait()
        if message["type"] == "http.response.body":
            assert not self.ended
            self.bodies += [message["body"]] if message["body"] else []
            self.ended = not message["more_body"]

    async def receive(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}


class Source:
    """Frames as they are put in; an empty one is the end."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = False

    async def events(self) -> AsyncIterator[bytes]:
        try:
            while frame := await self.frames.get():
                yield frame
        finally:
            self.closed = True


async def test_a_silent_stream_is_kept_open_and_one_that_speaks_needs_nothing() -> None:
    wire, source = Wire(), Source()
    stream = EventStream(source.events(), headers={}, ping=timedelta(seconds=0.05))
    serving = asyncio.create_task(stream(SCOPE, wire.receive, wire.send))
    source.frames.put_nowait(b"a")
    await eventually(lambda: wire.bodies.count(PING) >= 3)
    source.frames.put_nowait(b"b")
    source.frames.put_nowait(b"")
    await serving

    assert wire.ended and wire.bodies[0] == b"a" and wire.bodies[-1] == b"b"
    assert set(wire.bodies[1:-1]) == {PING}

    brisk, source = Wire(), Source()
    for frame in (b"a", b"b", b""):
        source.frames.put_nowait(frame)
    await EventStream(source.events(), headers={})(SCOPE, brisk.receive, brisk.send)
    assert brisk.bodies == [b"a", b"b"]


async def test_a_client_that_does_not_read_gets_no_comments_on_top() -> None:
    wire, source = Wire(), Source()
    wire.unread = b"b"
    stream = EventStream(source.events(), headers={}, ping=timedelta(seconds=60))
    serving = asyncio.create_task(stream(SCOPE, wire.receive, wire.send))
    for frame in (b"a", b"b", b""):
        source.frames.put_nowait(frame)
    await wire.waits.wait()
    for _ in range(3):
        leap(60)
        await asyncio.sleep(0.001)  # a timer after those that are due
    assert wire.bodies == [b"a"]
    wire.reads.set()
    await serving
    assert wire.ended and wire.bodies == [b"a", b"b"]


async def test_a_client_that_leaves_ends_the_response_and_lets_go_of_the_source() -> None:
    wire, source = Wire(), Source()
    serving = asyncio.create_task(EventStream(source.events(), headers={})(SCOPE, wire.receive, wire.send))
    source.frames.put_nowait(b"a")
    await eventually(lambda: wire.bodies == [b"a"])
    wire.left.set()
    await serving
    assert source.closed and not wire.ended
