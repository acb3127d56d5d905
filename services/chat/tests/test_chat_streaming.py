"""The response of server-sent events, spoken to as a server does."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from docuchat_chat.turns.streaming import PING, EventStream
from docuchat_testkit.eventually import eventually

SCOPE: dict[str, Any] = {"type": "http"}


class Wire:
    """A client's end: what was sent, whether it reads, when it leaves."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.ended = False
        self.reads = asyncio.Event()
        self.reads.set()
        self.left = asyncio.Event()
        self.under_way = 0

    async def send(self, message: Any) -> None:
        self.under_way += 1
        await self.reads.wait()
        self.under_way -= 1
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
    stream = EventStream(source.events(), headers={}, ping=timedelta(seconds=0.02))
    serving = asyncio.create_task(stream(SCOPE, wire.receive, wire.send))
    source.frames.put_nowait(b"a")
    await eventually(lambda: b"a" in wire.bodies)
    wire.reads.clear()
    source.frames.put_nowait(b"b")
    await eventually(lambda: wire.under_way == 1)
    waited = [asyncio.create_task(asyncio.sleep(0.02)) for _ in range(5)]
    for silence in waited:
        await silence
    assert wire.under_way == 1  # one message waits: the frame, or the comment that went before it
    wire.reads.set()
    source.frames.put_nowait(b"")
    await serving
    assert wire.ended and wire.bodies[-1] == b"b"


async def test_a_client_that_leaves_ends_the_response_and_lets_go_of_the_source() -> None:
    wire, source = Wire(), Source()
    serving = asyncio.create_task(EventStream(source.events(), headers={})(SCOPE, wire.receive, wire.send))
    source.frames.put_nowait(b"a")
    await eventually(lambda: wire.bodies == [b"a"])
    wire.left.set()
    await serving
    assert source.closed and not wire.ended
