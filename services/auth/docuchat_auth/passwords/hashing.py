"""Hash and check passwords in threads of their own, so that nobody else waits for it."""

import asyncio
import os
import secrets
import sys
import unicodedata
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final, Self, TypeVar

import argon2
import bcrypt

from docuchat_auth.passwords.errors import PasswordsBusy

T = TypeVar("T")

# OWASP's minimum for Argon2id (Password Storage Cheat Sheet): 19 MiB, two passes, one lane
_ARGON2: Final = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_NICE: Final = 10
_BCRYPT_BYTES: Final = 72
"""bcrypt reads no more of a password, and newer libraries refuse what is longer."""


class PasswordPool:
    """Argon2id in a few threads, with room for so many that wait.

    A network takes a quarter of the room at most, and half of the threads: others come in between.
    """

    def __init__(self, executor: ThreadPoolExecutor, threads: int, room: int) -> None:
        self._executor = executor
        self._places = max(1, threads // 2)
        self._room = room
        self._taken: Counter[str] = Counter()
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._nobodys = _ARGON2.hash(secrets.token_urlsafe())

    @classmethod
    @asynccontextmanager
    async def open(cls, threads: int, room: int) -> AsyncIterator[Self]:
        """A pool of `threads`, in which `room` passwords may be in work or wait."""
        executor = ThreadPoolExecutor(threads, "passwords", initializer=_give_way)
        try:
            yield cls(executor, threads, room)
        finally:  # what is in work ends, what waits does not begin
            await asyncio.to_thread(executor.shutdown, cancel_futures=True)

    async def hash(self, password: str, network: str) -> str:
        """What is stored of a password. Raises PasswordsBusy."""
        return await self.run(lambda: _ARGON2.hash(_normal(password)), network)

    async def check(self, password: str, hashes: Sequence[str], network: str) -> list[bool]:
        """Which of the hashes are of this password; nobody's takes as long as somebody's. Raises PasswordsBusy."""
        wanted = hashes or [self._nobodys]
        found = await self.run(lambda: [_is_of(hash_, password) for hash_ in wanted], network)
        return found[: len(hashes)]

    async def run(self, work: Callable[[], T], network: str) -> T:
        """Do something slow for a caller in `network`. Raises PasswordsBusy."""
        if self._taken.total() >= self._room or self._taken[network] >= max(1, self._room // 4):
            raise PasswordsBusy(retry_after=timedelta(seconds=1))
        self._taken[network] += 1
        turn = self._turns.setdefault(network, asyncio.Semaphore(self._places))
        try:
            await turn.acquire()
        except asyncio.CancelledError:
            self._leave(network)
            raise
        future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        future.add_done_callback(lambda _: self._leave(network, turn))  # also when whoever asked has gone
        return await asyncio.shield(future)

    def _leave(self, network: str, turn: asyncio.Semaphore | None = None) -> None:
        if turn is not None:
            turn.release()
        self._taken[network] -= 1
        if not self._taken[network]:
            del self._taken[network], self._turns[network]


def _give_way() -> None:
    """Let auth's own event loop go first, and all of the machine where its kernel ranks threads by themselves.

    Linux with autogroups (each session for itself) or CPU groups (each container) compares threads within one alone.
    """
    if sys.platform == "linux":  # where a thread has a priority of its own
        os.nice(_NICE)  # by so much below the process, which may have been started with a low one: none is ever raised


def is_outdated(hash_: str) -> bool:
    """Whether a hash is to be replaced at the next sign-in: of other parameters, or brought along as bcrypt."""
    return not hash_.startswith("$argon2") or _ARGON2.check_needs_rehash(hash_)


def _normal(password: str) -> str:
    """The same for all keyboards (NIST SP 800-63B, 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def _is_of(hash_: str, password: str) -> bool:
    try:
        if hash_.startswith("$2"):
            return bcrypt.checkpw(password.encode()[:_BCRYPT_BYTES], hash_.encode())
        return _ARGON2.verify(hash_, _normal(password))
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError, ValueError):
        return False
