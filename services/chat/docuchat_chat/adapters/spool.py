"""What this process asked of the provider and received, on disk before anybody is shown it.

One append-only file a process, one `write` a record, no fsync: the books survive the death of every process and of
Redis; only a lost disk costs an estimate. The file is locked as long as its process lives (flock), so that others on
the machine tell the dead from the living. A record is the turn's id, a kind, the length of its text, and the text.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import structlog

from docuchat_chat.turns.domain import Received
from docuchat_common.errors import StorageFull
from docuchat_common.ids import TurnId

logger = structlog.get_logger()

_HEAD = struct.Struct(">16scI")
_SENT, _REFUSED, _TEXT, _THOUGHT, _KEPT_BACK, _LET_OUT, _SECOND = b"S", b"R", b"T", b"H", b"K", b"O", b"F"
_SUFFIX = ".spool"


class FileSpool:
    """The spool of this process. A write that fails is an OSError: what cannot be noted must not be shown."""

    def __init__(self, folder: Path, owner: str, *, most_bytes: int = 8 << 20, least_room: int = 1 << 20) -> None:
        """`least_room`: bytes of the disk without which nothing more is asked of a provider."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._owner = owner
        self._most_bytes = most_bytes
        self.least_room = least_room
        self._files: dict[int, set[TurnId]] = {}
        """Turns that are not settled, by the file that has records of them."""
        self._lock = _open(folder / f"{owner}.lock")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._begin_file(0)

    def sent(self, turn_id: TurnId) -> None:
        """Note that the request is about to leave; without room for its answer, paid in vain, it must not."""
        self.require_room()
        self._write(turn_id, _SENT, b"")

    def require_room(self) -> None:
        """Raise OSError when the disk is about to be full."""
        disk = os.fstatvfs(self._lock)
        if disk.f_bavail * disk.f_frsize < self.least_room:
            raise _full()

    async def check(self) -> None:
        """Raise StorageFull when the disk is about to be full (health)."""
        try:
            self.require_room()
        except OSError as error:
            raise StorageFull("The disk of SPOOL_DIR is full, so no model is asked; make room on it.") from error

    def refused(self, turn_id: TurnId) -> None:
        """Note that the provider took nothing of the last request."""
        self._write(turn_id, _REFUSED, b"")

    def second(self, turn_id: TurnId) -> None:
        """Note that all that follows is of the second model's call."""
        self._write(turn_id, _SECOND, b"")

    def append(self, turn_id: TurnId, text: str) -> None:
        """Note what arrived."""
        self._write(turn_id, _TEXT, text.encode())

    def thought(self, turn_id: TurnId, text: str) -> None:
        """Note what arrived and is not shown."""
        self._write(turn_id, _THOUGHT, text.encode())

    def keep_back(self, turn_id: TurnId, text: str) -> None:
        """Note what arrived and is not shown yet."""
        self._write(turn_id, _KEPT_BACK, text.encode())

    def let_out(self, turn_id: TurnId) -> None:
        """Note that what was kept back is about to be shown, and noted as such."""
        self._write(turn_id, _LET_OUT, b"")

    def settled(self, turn_id: TurnId) -> None:
        """Forget a turn, which the database has now."""
        for number in [number for number, turns in self._files.items() if turn_id in turns]:
            self._files[number].discard(turn_id)
            if self._files[number]:
                continue
            if number == self._number:
                os.ftruncate(self._file, 0)
                self._size = 0
            else:
                del self._files[number]
                (self._folder / f"{self._owner}.{number}{_SUFFIX}").unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the files; they are deleted when nothing in them waits to be settled."""
        os.close(self._file)
        if not any(self._files.values()):
            _delete(self._folder, self._owner)
        os.close(self._lock)

    def _write(self, turn_id: TurnId, kind: bytes, text: bytes) -> None:
        record = _HEAD.pack(turn_id.bytes, kind, len(text)) + text
        if self._size + len(record) > self._most_bytes and self._size:
            full = self._file
            self._begin_file(self._number + 1)
            os.close(full)
        if os.write(self._file, record) < len(record):
            # Half a record would make those after it unreadable.
            os.ftruncate(self._file, self._size)
            raise _full()
        self._size += len(record)
        self._files[self._number].add(turn_id)

    def _begin_file(self, number: int) -> None:
        self._file = _open(self._folder / f"{self._owner}.{number}{_SUFFIX}")
        self._number = number
        self._files[number] = set()
        self._size = 0


class SpoolFolder:
    """The spools that dead processes left in a folder."""

    def __init__(self, folder: Path, *, least_age: timedelta = timedelta(minutes=1)) -> None:
        """A spool younger than `least_age` may be about to be locked, and counts as alive."""
        self._folder = folder
        self._least_age = least_age.total_seconds()

    def is_alive(self, owner: str) -> bool:
        """Tell whether a process of this machine still writes its spool."""
        try:
            lock = os.open(self._folder / f"{owner}.lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    async def read(self, owner: str, turn_id: TurnId) -> Received | None:
        """Return what a dead process had noted of a turn; None when its spool is not here."""
        return await asyncio.to_thread(self._read, owner, turn_id)

    def owners(self) -> list[str]:
        """Return the dead processes that left spools here."""
        before = time.time() - self._least_age
        locks = [path for path in self._folder.glob("*.lock") if path.stat().st_mtime <= before]
        return sorted(path.stem for path in locks if not self.is_alive(path.stem))

    def delete(self, owner: str) -> None:
        """Delete the spool of a dead process, all of whose turns are settled."""
        _delete(self._folder, owner)

    def _read(self, owner: str, turn_id: TurnId) -> Received | None:
        paths = sorted(self._folder.glob(f"{owner}.*{_SUFFIX}"), key=lambda path: int(path.name.split(".")[1]))
        if not paths:
            return None
        first = received = Received()
        for path in paths:
            for record_turn, kind, text in _records(path.read_bytes()):
                if record_turn != turn_id.bytes:
                    continue
                if kind == _SECOND:
                    received = first.second = Received()
                    continue
                into = {_TEXT: received.pieces, _THOUGHT: received.thoughts, _KEPT_BACK: received.kept_back}.get(kind)
                if into is not None:
                    into.append(text.decode(errors="replace"))
                elif kind == _LET_OUT:
                    received.kept_back.clear()
                else:
                    received.sent = kind == _SENT
        return first


def _records(content: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield the whole records; the last one may have been cut by the death of its process."""
    at = 0
    while at + _HEAD.size <= len(content):
        turn, kind, length = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        if at + length > len(content):
            return
        yield turn, kind, content[at : at + length]
        at += length


def _full() -> OSError:
    return OSError(errno.ENOSPC, "the disk of SPOOL_DIR is full")


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _delete(folder: Path, owner: str) -> None:
    for path in (*folder.glob(f"{owner}.*{_SUFFIX}"), folder / f"{owner}.lock"):
        path.unlink(missing_ok=True)
