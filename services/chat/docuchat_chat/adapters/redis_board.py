"""Redis behind the TurnBoard port: running turns as streams of text, stop requests as messages.

One task a process copies out what is new of all turns, in one round trip for all, a few times a second: no token waits
for Redis. An entry holds consecutive deltas as fields named by their numbers; its id is the last number, so that
copying the same deltas twice is refused by Redis, and a reader finds its place by id. No book depends on what is here.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import redis.asyncio as redis
import structlog
from redis.exceptions import RedisError

from docuchat_chat.turns.domain import Received
from docuchat_chat.turns.ports import CLOSED, SILENT, TurnLog
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.ids import TenantId, TurnId
from docuchat_common.redis import REDIS_TROUBLE, check_redis, redis_errors_translated

logger = structlog.get_logger()

STOP_CHANNEL = "chat:stop"
_SENT = b"sent"
_CLOSED = b"closed"
DELTAS_PER_ENTRY = 512
_RENEWAL = 60.0
"""Seconds until a turn's life is set again; when Redis lost its data, what it gets before then has no end."""
_LAST_ID = "18446744073709551615-0"
"""After the entry of any delta."""


class _Place(NamedTuple):
    """How much of a log was copied."""

    texts: int
    sent: bool
    renewed_at: float
    """When its life in Redis was last made long, by the loop's clock."""


class RedisTurnBoard:
    """Shows running turns to other processes."""

    def __init__(
        self,
        client: redis.Redis,
        blocking_client: redis.Redis,
        *,
        copy_every: timedelta = timedelta(milliseconds=200),
        life: timedelta = timedelta(minutes=15),
        silence: timedelta = timedelta(seconds=1),
    ) -> None:
        """`blocking_client` waits in Redis: its time-out is longer than `silence`, and it has a connection a reader."""
        self._redis = client
        self._blocking = blocking_client
        self._copy_every = copy_every.total_seconds()
        self._life = int(life.total_seconds())
        self._silence_ms = int(silence.total_seconds() * 1000)
        self._dirty: dict[TurnId, TurnLog] = {}
        self._places: dict[TurnId, _Place] = {}
        self._wake = asyncio.Event()
        self._copying = asyncio.Lock()

    def publish(self, log: TurnLog) -> None:
        """Note that a log has something new."""
        if log.turn_id not in self._dirty:
            self._dirty[log.turn_id] = log
            self._wake.set()

    async def run(self) -> None:
        """Copy until cancelled; what Redis does not take is offered again."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                with redis_errors_translated():
                    await self.copy()
            except UpstreamUnavailable:
                self._wake.set()
                raise  # said, counted and run again after a pause
            await asyncio.sleep(self._copy_every)

    async def copy(self) -> None:
        """Copy out what is new."""
        async with self._copying:
            dirty = {turn_id: log for turn_id, log in self._dirty.items() if not log.hidden}
            self._dirty = {}
            pipe = self._redis.pipeline(transaction=False)
            taken = {turn_id: self._queue(pipe, log) for turn_id, log in dirty.items()}
            try:
                results = await pipe.execute(raise_on_error=False)
                for result in results:
                    # An id that is not newer means that this was copied before.
                    if isinstance(result, RedisError) and "equal or smaller" not in str(result):
                        raise result
            except REDIS_TROUBLE:
                self._dirty = {**dirty, **self._dirty}
                raise
            for turn_id, place in taken.items():
                log = dirty[turn_id]
                if log.closed and place.texts == len(log.texts):
                    self._places.pop(turn_id, None)
                else:
                    self._places[turn_id] = place

    def _queue(self, pipe: Any, log: TurnLog) -> _Place:
        """Add what is new of one log to the pipeline; returns the place it is at afterwards."""
        now = asyncio.get_running_loop().time()
        place = self._places.get(log.turn_id) or _Place(0, sent=False, renewed_at=-math.inf)
        key = stream_key(log.tenant_id, log.turn_id)
        texts = log.texts[place.texts :]
        if log.sent and not place.sent:
            pipe.xadd(key, {_SENT: b"1"}, id=f"{place.texts}-1")
        for start in range(0, len(texts), DELTAS_PER_ENTRY):
            part = texts[start : start + DELTAS_PER_ENTRY]
            first = place.texts + start + 1
            pipe.xadd(
                key,
                {str(number): text for number, text in enumerate(part, first)},
                id=f"{first + len(part) - 1}-0",
            )
        if log.closed:
            pipe.xadd(key, {_CLOSED: b"1"}, id=_LAST_ID)
        renewed_at = place.renewed_at
        if log.closed or now - renewed_at >= _RENEWAL:
            pipe.expire(key, self._life if log.closed else self._life * 2)
            renewed_at = now
        return _Place(place.texts + len(texts), log.sent, renewed_at)

    async def read(self, tenant_id: TenantId, turn_id: TurnId, after: int) -> AsyncIterator[tuple[int, str]]:
        """Follow a turn of another process."""
        key = stream_key(tenant_id, turn_id)
        seen = max(after, 0)
        # Entries are named by their last delta: the one that `after` is in may go on behind it.
        place = f"{seen}-{2**63}"
        while True:
            try:
                answer = await self._blocking.xread({key: place}, block=self._silence_ms)
            except REDIS_TROUBLE:
                await asyncio.sleep(self._silence_ms / 1000)
                answer = []
            entries = _entries(answer)
            if not entries:
                yield SILENT, ""
            for entry_id, fields in entries:
                place = entry_id.decode()
                for number in sorted(int(name) for name in fields if name.isdigit()):
                    if number > seen:
                        seen = number
                        yield number, fields[str(number).encode()].decode()
                if _CLOSED in fields:
                    yield CLOSED, ""
                    return

    async def received(self, tenant_id: TenantId, turn_id: TurnId) -> Received:
        """Return what a dead process had published of a turn."""
        received = Received()
        with redis_errors_translated():
            entries: Any = await self._redis.xrange(stream_key(tenant_id, turn_id))
        for _, fields in entries:
            received.sent = received.sent or _SENT in fields
            for number in sorted(int(name) for name in fields if name.isdigit()):
                received.pieces.append(fields[str(number).encode()].decode())
        return received

    async def close(self, tenant_id: TenantId, turn_id: TurnId) -> None:
        """Tell the followers of a dead process' turn that it is settled."""
        key = stream_key(tenant_id, turn_id)
        try:
            await self._redis.xadd(key, {_CLOSED: b"1"}, id=_LAST_ID)
            await self._redis.expire(key, self._life)
        except REDIS_TROUBLE as error:
            # Followers look into the store when the board is silent.
            logger.warning("board.not_closed", turn_id=str(turn_id), reason=type(error).__name__)

    async def forget(self, tenant_id: TenantId, turn_ids: Sequence[TurnId]) -> None:
        """Remove what was published of these turns; what is being copied just now goes with it."""
        if not turn_ids:
            return
        async with self._copying:
            for turn_id in turn_ids:
                self._dirty.pop(turn_id, None)
                self._places.pop(turn_id, None)
            with suppress(*REDIS_TROUBLE):
                await self._redis.delete(*(stream_key(tenant_id, turn_id) for turn_id in turn_ids))

    async def ask_to_stop(self, turn_id: TurnId) -> None:
        """Tell the process that runs a turn to stop it."""
        with redis_errors_translated():
            await self._redis.publish(STOP_CHANNEL, turn_id.bytes)

    async def check(self) -> None:
        """Raise UpstreamUnavailable when Redis does not answer."""
        await check_redis(self._redis)

    async def listen_for_stops(self, stop: Callable[[TurnId], None]) -> None:
        """Stop turns as other processes ask, until cancelled."""
        with redis_errors_translated():
            await self._follow_stops(stop)

    async def _follow_stops(self, stop: Callable[[TurnId], None]) -> None:
        async with self._blocking.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(STOP_CHANNEL)
            while True:
                message = await channel.get_message(timeout=20)
                if message is not None:
                    stop(TurnId(UUID(bytes=message["data"])))


def stream_key(tenant_id: TenantId, turn_id: TurnId | str) -> str:
    """Where a turn is; `*` in its place is the pattern of all of the tenant."""
    return f"chat:turn:{tenant_id}:{turn_id}"


def _entries(answer: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    return [entry for _, entries in answer or () for entry in entries]
