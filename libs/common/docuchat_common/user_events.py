"""What happens to one user's documents and turns, as a Redis stream a user: written where it happens, read by gateways.

Entries hold ids and no text; who reads looks the rest up, as far as the user may see it. Their numbers have no gaps, so
that a reader who comes back knows whether anything is missing: an entry's id in Redis is when the stream was made, and
the entry's number. A stream is bounded, and is forgotten an hour after it was last written or read.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, NamedTuple, Self, get_args
from uuid import UUID

import structlog
from redis.asyncio import Redis

from docuchat_common.background import Background
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.redis import redis_errors_translated

logger = structlog.get_logger()

UserEventKind = Literal["document", "document_deleted", "turn", "turn_ended", "chat", "lost", "opened"]
"""`lost` is written by who could not write what was before it; `opened` is the first entry of a stream that somebody
reads before anything has happened."""

LIFE: Final = timedelta(hours=1)
MOST_ENTRIES: Final = 2_000
MOST_WAITING: Final = 10_000
"""Entries of one process that wait for a Redis that is away; older ones are lost, and their users are told so."""
_AT_ONCE: Final = 500
_LIFE_MS: Final = LIFE // timedelta(milliseconds=1)
_NOTHING: Final = UUID(int=0)
_POSITION: Final = re.compile(r"(\d{1,15})-(\d{1,15})")

# Lua 5.1 has no whole numbers above 2^53; those here are far below
_APPEND: Final = """
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local id
if #last == 0 then
  local clock = redis.call('TIME')
  id = string.format('%.0f-1', clock[1] * 1000 + math.floor(clock[2] / 1000))
else
  local made, number = string.match(last[1][1], '(%d+)-(%d+)')
  id = string.format('%s-%.0f', made, tonumber(number) + 1)
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], id, unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', KEYS[1], id)
return id
"""
_READ: Final = """
redis.call('PEXPIRE', KEYS[1], ARGV[1])
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if #last == 0 then return {'', {}} end
return {last[1][1], redis.call('XRANGE', KEYS[1], ARGV[2], '+', 'COUNT', ARGV[3])}
"""


class EventsLost(Exception):
    """What came after a position is not there any more."""


class Position(NamedTuple):
    """A place in a user's stream."""

    made: int
    """When the stream was made, in milliseconds."""
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` gives; ValueError for anything else."""
        match = _POSITION.fullmatch(text)
        if match is None:
            raise ValueError("is no position")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.made}-{self.number}"


@dataclass(frozen=True, slots=True)
class UserEvent:
    """One entry."""

    position: Position
    kind: UserEventKind
    object_id: UUID
    subject: str
    """Who may read it, where that is not all that the user's credentials open (`Caller.subject`); else empty."""


def stream_key(holder: str) -> str:
    """Where the stream is in Redis, and the channel on which each entry is told."""
    return f"chat:events:{holder}"


class UserEventWriter:
    """Adds entries, in the background and in order: whom they are about never waits for Redis."""

    def __init__(self, client: Redis, *, most_waiting: int = MOST_WAITING) -> None:
        self._redis = client
        self._most_waiting = most_waiting
        self._waiting: deque[tuple[str, Mapping[str, str]]] = deque()
        self._lost: set[str] = set()
        self._wake = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, client: Redis) -> AsyncIterator[Self]:
        """A writer that writes while the block runs, and at its end what waits, if that is possible then."""
        writer = cls(client)
        async with Background() as background:
            background.start("user_events", writer.run)
            yield writer
        await writer.finish()

    def add(self, holder: str | None, kind: UserEventKind, object_id: UUID, subject: str = "") -> None:
        """Tell a `Caller.holder`; nobody is told when it is None."""
        if holder is None:
            return
        if len(self._waiting) >= self._most_waiting:
            self._lost.add(self._waiting.popleft()[0])
        self._waiting.append((holder, _fields(kind, object_id, subject)))
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled. Raises UpstreamUnavailable while Redis is away; what waits is written later."""
        while True:
            while self._waiting:
                await self._write()
            self._wake.clear()
            await self._wake.wait()

    async def finish(self) -> None:
        """Write what waits, if that is possible now."""
        try:
            while self._waiting:
                await self._write()
        except UpstreamUnavailable:
            logger.warning("user_events.unwritten", entries=len(self._waiting))

    async def _write(self) -> None:
        lost = [(holder, _fields("lost")) for holder in self._lost]
        batch = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
        pipe = self._redis.pipeline(transaction=False)
        for holder, fields in [*lost, *batch]:
            pipe.eval(_APPEND, 1, *_append_arguments(holder, fields))
        try:
            with redis_errors_translated():
                await pipe.execute()
        except BaseException:  # some may be written: a reader takes the second of two for none
            self._waiting.extendleft(reversed(batch))
            raise
        self._lost.difference_update(holder for holder, _ in lost)


class UserEventReader:
    """Reads a user's stream."""

    def __init__(self, client: Redis) -> None:
        self._redis = client

    async def open(self, holder: str) -> tuple[Position, Sequence[UserEvent]]:
        """The place to go on from, and the entries before it; a user without a stream gets one.

        Raises UpstreamUnavailable.
        """
        last, entries = await self._ask(holder, "-")
        if last is None:
            with redis_errors_translated():
                made: Any = await self._redis.eval(_APPEND, 1, *_append_arguments(holder, _fields("opened")))
            last = Position.parse(_text(made))
        return last, entries

    async def read(self, holder: str, after: Position) -> Sequence[UserEvent]:
        """The entries after a place; none yet, or some of them. Raises EventsLost, UpstreamUnavailable."""
        last, entries = await self._ask(holder, f"({after}")
        expected = Position(after.made, after.number + 1)
        if (entries[0].position if entries else last) != (expected if entries else after):
            raise EventsLost
        return entries

    async def _ask(self, holder: str, begin: str) -> tuple[Position | None, list[UserEvent]]:
        with redis_errors_translated():
            last, rows = await self._redis.eval(_READ, 1, stream_key(holder), _LIFE_MS, begin, MOST_ENTRIES)
        entries = [_entry(_text(entry_id), [_text(part) for part in parts]) for entry_id, parts in rows]
        return Position.parse(_text(last)) if last else None, entries


def _fields(kind: UserEventKind, object_id: UUID = _NOTHING, subject: str = "") -> Mapping[str, str]:
    return {"kind": kind, "id": object_id.hex, "subject": subject}


def _append_arguments(holder: str, fields: Mapping[str, str]) -> Sequence[str | int]:
    """What `_APPEND` is called with: its key, and what the entry says."""
    pairs = [part for pair in fields.items() for part in pair]
    return [stream_key(holder), MOST_ENTRIES, _LIFE_MS, *pairs]


def _entry(entry_id: str, parts: Sequence[str]) -> UserEvent:
    fields = dict(zip(parts[::2], parts[1::2], strict=True))
    kind: Any = fields["kind"]
    # a newer release may tell more; who knows no such kind leaves it out
    known: UserEventKind = kind if kind in get_args(UserEventKind) else "opened"
    return UserEvent(Position.parse(entry_id), known, UUID(fields["id"]), fields["subject"])


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()
