"""A process' sign of life, which the database server itself takes back."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import asyncpg

from docuchat_common.background import Background
from docuchat_common.db.pool import CONNECTION_ERRORS
from docuchat_common.errors import UpstreamUnavailable

_TAKE: Final = "SELECT pg_try_advisory_lock($1, $2)"


class Presence:
    """A session advisory lock, which the server drops with the connection: a killed process is seen at once.

    Locks do not survive a restart of the server, so for a moment after one everybody counts as alive.
    """

    def __init__(self, url: str, lock_class: int) -> None:
        self._url = url
        self._lock_class = lock_class
        self._connection: asyncpg.Connection | None = None
        self.process_id = secrets.randbelow(2**31 - 1) + 1
        """Second key of the lock, random and so unique among the processes of today."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, lock_class: int, *, check_every: timedelta = timedelta(seconds=1)
    ) -> AsyncIterator["Presence"]:
        """Hold the lock on a connection of its own, taken again in the background when the server restarts.

        `lock_class` is the first key: one number for each kind of process.
        """
        presence = cls(url, lock_class)
        await presence._ensure()
        try:
            async with Background() as background:
                background.every("presence", check_every, presence._keep)
                yield presence
        finally:
            await presence._close()

    async def _keep(self) -> None:
        try:
            await self._ensure()
        except CONNECTION_ERRORS as error:
            raise UpstreamUnavailable("The sign of life is lost until the database answers.") from error

    async def _ensure(self) -> None:
        if self._connection is not None:
            try:
                await self._connection.execute("SELECT 1")
                return
            except CONNECTION_ERRORS:
                await self._close()
        self._connection = await asyncpg.connect(
            self._url, timeout=5, command_timeout=5, server_settings={"application_name": "docuchat-presence"}
        )
        is_ours = False
        try:
            # false means that the server has not noticed the end of the last session yet; asked again next time
            is_ours = await self._connection.fetchval(_TAKE, self._lock_class, self.process_id)
        finally:
            if not is_ours:
                await self._close()

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await connection.close(timeout=2)
        except CONNECTION_ERRORS:
            connection.terminate()
