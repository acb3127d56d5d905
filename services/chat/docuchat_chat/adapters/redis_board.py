"""Redis behind the TurnBoard port: running turns as streams, stop requests as messages, processes as keys that expire.

One task a process copies out what is new of all turns, in one round trip for all, a few times a second: no token waits
for Redis. An entry holds consecutive frames as fields named by their numbers; its id is the last number plus one, so
that copying the same frames twice is refused by Redis, and a reader finds its place by id.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import redis.asyncio as redis
import structlog
from redis.exceptions import RedisError, ResponseError

from docuchat_chat.turns.domain import Received
from docuchat_chat.turns.frames import OPENING, delta_text
from docuchat_chat.turns.ports import PublishedLog
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.ids import TenantId, TurnId

logger = structlog.get_logger()

STOP_CHANNEL = "chat:stop"
ACCEPTED = b"accepted"
CLOSED = b"closed"
FRAMES_PER_ENTRY = 512


class _Place(NamedTuple):
    """How much of a log was copied."""

    frames: int
    accepted: bool
    closed: bool


class RedisTurnBoard:
    """Shows running turns to other processes."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        copy_every: timedelta = timedelta(milliseconds=200),
        life: timedelta = timedelta(minutes=15),
        process_life: timedelta = timedelta(seconds=20),
        silence: timedelta = timedelta(seconds=1),
    ) -> None:
        self._redis = client
        self._copy_every = copy_every.total_seconds()
        self._life = int(life.total_seconds())
        self._process_life = int(process_life.total_seconds())
        self._silence_ms = int(silence.total_seconds() * 1000)
        self._dirty: dict[TurnId, PublishedLog] = {}
        self._places: dict[TurnId, _Place] = {}
        self._wake = asyncio.Event()

    def publish(self, log: PublishedLog) -> None:
        """Note that a log has new frames."""
        if log.turn_id not in self._dirty:
            self._dirty[log.turn_id] = log
            self._wake.set()

    async def run(self) -> None:
        """Copy until cancelled; what Redis does not take is offered again."""
        failing = False
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.copy()
                failing = False
            except RedisError as error:
                if not failing:
                    logger.warning("board.waiting", reason=type(error).__name__)
                failing = True
                self._wake.set()
            await asyncio.sleep(self._copy_every if not failing else 1.0)

    async def copy(self) -> None:
        """Copy out what is new."""
        dirty, self._dirty = self._dirty, {}
        pipe = self._redis.pipeline(transaction=False)
        taken = {turn_id: self._queue(pipe, log) for turn_id, log in dirty.items()}
        try:
            results = await pipe.execute(raise_on_error=False)
            for result in results:
                # An id that is not newer means that this was copied before.
                if isinstance(result, RedisError) and "equal or smaller" not in str(result):
                    raise result
        except RedisError:
            self._dirty = {**dirty, **self._dirty}
            raise
        for turn_id, place in taken.items():
            if place.closed:
                self._places.pop(turn_id, None)
                continue
            self._places[turn_id] = place
            log = dirty[turn_id]
            if len(log.frames) > place.frames or log.closed:
                self.publish(log)

    def _queue(self, pipe: Any, log: PublishedLog) -> _Place:
        """Add what is new of one log to the pipeline; returns the place it is at afterwards."""
        place = self._places.get(log.turn_id, _Place(0, accepted=False, closed=False))
        key = _key(log.tenant_id, log.turn_id)
        frames = log.frames[place.frames :]
        reached = _Place(place.frames + len(frames), accepted=log.accepted, closed=log.closed)
        for start in range(0, len(frames), FRAMES_PER_ENTRY):
            part = frames[start : start + FRAMES_PER_ENTRY]
            first = place.frames + start
            fields: dict[Any, Any] = {str(number): frame for number, frame in enumerate(part, first)}
            if first + len(part) == reached.frames:
                fields |= {CLOSED: b"1"} if reached.closed else {}
                fields |= {ACCEPTED: b"1"} if reached.accepted else {}
            pipe.xadd(key, fields, id=f"{first + len(part)}-0")
        if reached.accepted and not place.accepted and not frames:
            pipe.xadd(key, {ACCEPTED: b"1"}, id=f"{place.frames}-1")
        if place.frames == 0 or reached.closed:
            pipe.expire(key, self._life if reached.closed else self._life * 2)
        return reached

    async def read(self, tenant_id: TenantId, turn_id: TurnId, after: int) -> AsyncIterator[tuple[int, bytes, bool]]:
        """Follow a turn of another process."""
        key = _key(tenant_id, turn_id)
        place = f"{after + 1}-0"
        seen = after
        while True:
            try:
                answer = await self._redis.xread({key: place}, block=self._silence_ms)
            except RedisError:
                await asyncio.sleep(1)
                answer = []
            entries = _entries(answer)
            if not entries:
                yield -1, b"", False
            for entry_id, fields in entries:
                place = entry_id.decode()
                closed = CLOSED in fields
                numbers = sorted(int(name) for name in fields if name.isdigit())
                for number in numbers:
                    if number > seen:
                        seen = number
                        yield number, fields[str(number).encode()], closed and number == numbers[-1]

    async def received(self, tenant_id: TenantId, turn_id: TurnId) -> Received:
        """Return what a dead process had published of a turn."""
        received = Received()
        for _, fields in await self._range(tenant_id, turn_id):
            received.accepted = received.accepted or ACCEPTED in fields
            received.finished = received.finished or CLOSED in fields
            for number in sorted(int(name) for name in fields if name.isdigit()):
                frame = fields[str(number).encode()]
                if number != OPENING and frame.startswith(b"event: delta"):
                    received.pieces.append(delta_text(frame))
        return received

    async def close(self, tenant_id: TenantId, turn_id: TurnId, seq: int, frame: bytes) -> None:
        """Write a turn's last frame for its dead owner."""
        key = _key(tenant_id, turn_id)
        try:
            with suppress(ResponseError):
                await self._redis.xadd(key, {str(seq): frame, CLOSED: b"1"}, id=f"{seq + 1}-0")
            await self._redis.expire(key, self._life)
        except RedisError as error:
            # Followers look into the store when the board is silent.
            logger.warning("board.not_closed", turn_id=str(turn_id), reason=type(error).__name__)

    async def forget(self, tenant_id: TenantId, turn_ids: Sequence[TurnId]) -> None:
        """Remove what was published of these turns."""
        if turn_ids:
            with suppress(RedisError):
                await self._redis.delete(*(_key(tenant_id, turn_id) for turn_id in turn_ids))

    async def ask_to_stop(self, turn_id: TurnId) -> None:
        """Tell the process that runs a turn to stop it."""
        try:
            await self._redis.publish(STOP_CHANNEL, turn_id.bytes)
        except RedisError as error:
            raise UpstreamUnavailable(
                "The turn could not be stopped now; try again shortly.", retry_after=timedelta(seconds=2)
            ) from error

    async def listen_for_stops(self, stop: Callable[[TurnId], None]) -> None:
        """Stop turns as other processes ask, until cancelled."""
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(STOP_CHANNEL)
                    while True:
                        message = await channel.get_message(timeout=30)
                        if message is not None:
                            stop(TurnId(UUID(bytes=message["data"])))
            except (RedisError, OSError, ValueError) as error:
                logger.warning("board.not_listening", reason=type(error).__name__)
                await asyncio.sleep(1)

    async def show_life(self, owner: str) -> None:
        """Say that a process lives."""
        try:
            await self._redis.set(f"chat:process:{owner}", b"1", ex=self._process_life)
        except RedisError as error:
            logger.warning("board.no_life_shown", reason=type(error).__name__)

    async def is_alive(self, owner: str) -> bool:
        """Tell whether a process showed life lately."""
        try:
            return bool(await self._redis.exists(f"chat:process:{owner}"))
        except RedisError as error:
            raise UpstreamUnavailable("Redis does not answer.") from error

    async def check(self) -> None:
        """Raise when Redis does not answer (readiness)."""
        await self._redis.ping()

    async def _range(self, tenant_id: TenantId, turn_id: TurnId) -> list[tuple[bytes, dict[bytes, bytes]]]:
        try:
            entries: Any = await self._redis.xrange(_key(tenant_id, turn_id))
        except RedisError as error:
            raise UpstreamUnavailable("Redis does not answer.") from error
        return list(entries)


def _key(tenant_id: TenantId, turn_id: TurnId) -> str:
    return f"chat:turn:{tenant_id}:{turn_id}"


def _entries(answer: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    return [entry for _, entries in answer or () for entry in entries]
