"""The two clients that are compared: a conversation over the gateway's WebSocket, and the provider read directly."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import aiohttp
import orjson
from harness import MODEL, Bench

_TOKEN = b'"delta":{"content":'
SILENCE = 60.0


@dataclass(slots=True)
class Stream:
    """What one answer looked like from outside; times are of the wall clock."""

    asked: float = 0.0
    first: float = 0.0
    ended: float = 0.0
    tokens: int = 0
    """As the provider counted them."""
    turn_id: str = ""
    error: str = ""
    arrivals: list[tuple[float, str]] = field(default_factory=list)
    """(when, data) of every delta, as it came."""
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the first token."""

    @property
    def first_token_seconds(self) -> float:
        return self.first - self.asked

    def text(self) -> str:
        return "".join(orjson.loads(data)["token"] for _, data in self.arrivals)


class Conversation:
    """A socket on which one question after another is asked, each in a chat of its own."""

    def __init__(self, bench: Bench, session: aiohttp.ClientSession) -> None:
        self._bench = bench
        self._session = session
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def connect(self) -> Conversation:
        self._socket = await self._session.ws_connect(
            self._bench.socket_url, headers=self._bench.headers, max_msg_size=0, compress=0, autoping=True
        )
        return self

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def stop(self, stream: Stream) -> None:
        """Have an answer stopped; its `end` then comes to whoever asked."""
        assert self._socket is not None
        await self._socket.send_str(orjson.dumps({"stop": stream.turn_id}).decode())

    async def ask(self, message: str, stream: Stream | None = None) -> Stream:
        """Ask and read to the end; a `stream` that is given shows what has come so far."""
        assert self._socket is not None
        stream = stream or Stream()
        stream.asked = time.time()
        await self._socket.send_str(orjson.dumps({"message": message}).decode())
        while True:
            try:
                frame = await self._socket.receive(SILENCE)
            except TimeoutError:
                stream.error = "silence"
                stream.opened.set()
                return stream
            now = time.time()
            data = frame.data
            if frame.type is not aiohttp.WSMsgType.TEXT:
                stream.error = f"closed: {frame.type.name} {data!r}"
                stream.opened.set()
                return stream
            if data.startswith('{"type":"delta"'):
                if not stream.first:
                    stream.first = now
                    stream.opened.set()
                stream.arrivals.append((now, data))
            elif data.startswith('{"type":"start"'):
                stream.turn_id = orjson.loads(data)["turn_id"]
            elif data.startswith('{"type":"end"'):
                stream.ended = now
                stream.tokens = orjson.loads(data)["usage"]["output_tokens"]
                return stream
            elif data.startswith('{"type":"error"'):
                stream.ended, stream.error = now, data
                stream.opened.set()
                return stream


async def ask_bare(bench: Bench, session: aiohttp.ClientSession, prompt: str, stream: Stream | None = None) -> Stream:
    """Ask the provider itself, as a service would, and read it to the end; arrivals are kept in a given `stream`."""
    keep = stream is not None
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 16_000,
        "user": "bare",
    }
    stream = stream or Stream()
    stream.asked = time.time()
    url = f"{bench.stub.base_url}/chat/completions"
    async with session.post(url, json=body, headers={"Authorization": "Bearer bare"}) as response:
        response.raise_for_status()
        async for data in response.content.iter_any():
            now = time.time()
            count = data.count(_TOKEN)
            if count:
                if not stream.first:
                    stream.first = now
                    stream.opened.set()
                stream.tokens += count
                if keep:
                    stream.arrivals.append((now, orjson.dumps({"token": "x" * count}).decode()))
    stream.ended = time.time()
    return stream


async def connect_all(bench: Bench, session: aiohttp.ClientSession, count: int) -> list[Conversation]:
    conversations: list[Conversation] = []
    for start in range(0, count, 50):
        some = [Conversation(bench, session).connect() for _ in range(min(50, count - start))]
        conversations += await asyncio.gather(*some)
    return conversations


def open_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None, sock_read=SILENCE)
    )
