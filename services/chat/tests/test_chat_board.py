"""What other processes see of a turn: the board on a real Redis, the spool on a real disk."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import redis.asyncio as redis

from docuchat_chat.adapters.redis_board import RedisTurnBoard
from docuchat_chat.adapters.spool import FileSpool, SpoolFolder
from docuchat_chat.turns.domain import Received
from docuchat_chat.turns.ports import CLOSED, SILENT
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.ids import TenantId, TurnId, uuid7
from docuchat_testkit.clock import leap


@dataclass
class Log:
    """The answer of a running turn."""

    tenant_id: TenantId = field(default_factory=lambda: TenantId(1))
    turn_id: TurnId = field(default_factory=lambda: TurnId(uuid7()))
    texts: list[str] = field(default_factory=list)
    sent: bool = False
    closed: bool = False
    hidden: bool = False


@dataclass
class Boards:
    """Two processes' views of one board."""

    here: Any
    there: Any
    client: Any

    async def copy(self, log: Log) -> None:
        self.here.publish(log)
        await self.here.copy()


@pytest_asyncio.fixture
async def boards(redis_url: str) -> AsyncIterator[Boards]:
    async with AsyncExitStack() as stack:
        client = redis.Redis.from_url(redis_url, protocol=2)
        stack.push_async_callback(client.aclose)
        both = [RedisTurnBoard(client, client, silence=timedelta(milliseconds=20)) for _ in range(2)]
        yield Boards(*both, client)


async def test_a_follower_gets_every_delta_once_from_any_place(boards: Boards) -> None:
    log = Log()

    async def follow(after: int) -> list[tuple[int, str]]:
        return [found async for found in boards.there.read(log.tenant_id, log.turn_id, after) if found[0] != SILENT]

    followers = [asyncio.create_task(follow(after)) for after in (0, 1, 2, 4)]
    await boards.copy(log)
    log.sent = True
    await boards.copy(log)
    log.texts += ["a", "b", "c"]
    await boards.copy(log)
    await boards.copy(log)
    log.texts.append("می‌شود")
    log.closed = True
    await boards.copy(log)
    everything = [(1, "a"), (2, "b"), (3, "c"), (4, "می‌شود"), (CLOSED, "")]
    for after, follower in zip((0, 1, 2, 4), followers, strict=True):
        assert await asyncio.wait_for(follower, 30) == everything[after:]
    assert await asyncio.wait_for(follow(2), 30) == everything[2:]


async def test_what_a_dead_process_had_published_is_received(boards: Boards) -> None:
    log = Log()
    await boards.copy(log)
    received = await boards.there.received(log.tenant_id, log.turn_id)
    assert (received.pieces, received.sent) == ([], False)
    log.sent = True
    await boards.copy(log)
    assert (await boards.there.received(log.tenant_id, log.turn_id)).sent
    log.texts += ["می‌شود ", '"x"\n']
    await boards.copy(log)
    assert (await boards.there.received(log.tenant_id, log.turn_id)).pieces == ["می‌شود ", '"x"\n']
    await boards.there.close(log.tenant_id, log.turn_id)
    assert [n async for n, _ in boards.here.read(log.tenant_id, log.turn_id, 0)] == [1, 2, CLOSED]


async def test_what_is_forgotten_while_it_is_written_is_not_written_again(boards: Boards) -> None:
    log = Log(texts=["a"])
    await boards.copy(log)
    log.texts.append("b")
    boards.here.publish(log)
    log.hidden = True
    await boards.here.forget(log.tenant_id, [log.turn_id])
    log.texts.append("c")
    await boards.copy(log)
    assert await boards.client.keys() == []


async def test_what_a_turn_shows_stays_in_redis_for_its_life_and_not_for_ever(boards: Boards) -> None:
    log, life = Log(texts=["a"]), 15 * 60

    async def lives() -> int:
        (key,) = await boards.client.keys()
        return int(await boards.client.ttl(key))

    await boards.copy(log)
    assert life < await lives() <= 2 * life
    (key,) = await boards.client.keys()
    await boards.client.expire(key, life // 2)
    leap(60)
    log.texts.append("b")
    await boards.copy(log)
    assert life < await lives() <= 2 * life
    await boards.client.flushdb()  # Redis lost its data, and said nothing of it
    leap(60)
    log.texts.append("c")
    await boards.copy(log)
    assert life < await lives() <= 2 * life
    log.closed = True
    await boards.copy(log)
    assert 0 < await lives() <= life


def a_turn_id() -> TurnId:
    return TurnId(uuid7())


async def test_a_redis_that_is_away_is_an_outage_and_keeps_what_was_published() -> None:
    log = Log(texts=["a"])
    async with redis.Redis.from_url("redis://127.0.0.1:1", protocol=2) as away:
        board = RedisTurnBoard(away, away)
        board.publish(log)
        with pytest.raises(UpstreamUnavailable):
            await board.run()
        with pytest.raises(UpstreamUnavailable):  # it is offered again at once
            await asyncio.wait_for(board.run(), 30)
        with pytest.raises(UpstreamUnavailable):
            await board.listen_for_stops(lambda _: None)


def test_a_spool_says_what_was_sent_and_received(tmp_path: Path) -> None:
    spool, folder = FileSpool(tmp_path, "7"), SpoolFolder(tmp_path, least_age=timedelta())
    first, second, third = a_turn_id(), a_turn_id(), a_turn_id()
    spool.sent(first)
    spool.sent(second)
    spool.append(first, "Zwei ")
    spool.append(first, "سال‌ها")
    spool.thought(first, "Hm.")
    spool.refused(second)
    assert folder.is_alive("7") and folder.owners() == []
    noted = [folder._read("7", turn) for turn in (first, second, third)]
    assert noted == [Received(["Zwei ", "سال‌ها"], ["Hm."], sent=True), Received(), Received()]
    assert folder._read("8", first) is None
    spool.close()
    assert not folder.is_alive("7") and folder.owners() == ["7"]
    assert oct(next(tmp_path.glob("*.spool")).stat().st_mode)[-3:] == "600"
    folder.delete("7")
    assert list(tmp_path.iterdir()) == []


def test_a_spool_is_emptied_as_turns_are_settled_and_begun_anew_when_it_is_long(tmp_path: Path) -> None:
    spool, folder = FileSpool(tmp_path, "7", most_bytes=1000), SpoolFolder(tmp_path, least_age=timedelta())
    long, short = a_turn_id(), a_turn_id()
    for _ in range(100):
        spool.append(long, "x" * 50)
    assert len(list(tmp_path.glob("*.spool"))) > 1
    noted = folder._read("7", long)
    assert noted is not None and noted.pieces == ["x" * 50] * 100
    spool.append(short, "y")
    spool.settled(long)
    noted = folder._read("7", short)
    assert len(list(tmp_path.glob("*.spool"))) == 1 and noted is not None and noted.pieces == ["y"]
    spool.settled(short)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_was_cut_is_left_out(tmp_path: Path) -> None:
    spool, turn = FileSpool(tmp_path, "7"), a_turn_id()
    spool.append(turn, "whole")
    spool.append(turn, "cut in the middle")
    path = next(tmp_path.glob("*.spool"))
    os.truncate(path, path.stat().st_size - 3)
    noted = SpoolFolder(tmp_path)._read("7", turn)
    assert noted is not None and noted.pieces == ["whole"]
    spool.close()


def test_two_processes_do_not_share_a_spool(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path, "7")
    with pytest.raises(BlockingIOError):
        FileSpool(tmp_path, "7")
    spool.close()


def test_a_record_that_the_disk_cut_short_spoils_none_after_it(tmp_path: Path) -> None:
    spool, folder = FileSpool(tmp_path, "7"), SpoolFolder(tmp_path, least_age=timedelta())
    cut, whole = a_turn_id(), a_turn_id()
    spool.sent(cut)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))  # the kernel takes as much of a write as fits
    try:
        with pytest.raises(OSError, match="full"):
            spool.append(cut, "x" * 200)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    spool.sent(whole)
    spool.append(whole, "All of it.")
    assert folder._read("7", cut) == Received([], sent=True)
    assert folder._read("7", whole) == Received(["All of it."], sent=True)
    spool.close()
