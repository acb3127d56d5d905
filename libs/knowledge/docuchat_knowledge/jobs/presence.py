"""A worker's sign of life, which the server itself takes back."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import asyncpg
import structlog

from docuchat_common.db.pool import CONNECTION_ERRORS

logger = structlog.get_logger()

LOCK_CLASS = 0x0D0C_0001
"""First key of the advisory locks that stand for living workers."""


class WorkerPresence:
    """A worker's sign of life: a session advisory lock, which the server drops with the worker's connection.

    So the documents of a killed worker are free at once; the lease guards against a worker that is alive and stuck.
    """

    def __init__(self, url: str, worker_id: int) -> None:
        self._url = url
        self._connection: asyncpg.Connection | None = None
        self.worker_id = worker_id
        """Key of the lock, random and so unique among the processes of today."""

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, check_every: timedelta = timedelta(seconds=1)) -> AsyncIterator[WorkerPresence]:
        """Hold the lock on a connection of its own, taken again in the background when the server restarts."""
        presence = cls(url, secrets.randbelow(2**31 - 1) + 1)
        await presence._ensure()
        keeper = asyncio.create_task(presence._keep(check_every.total_seconds()))
        try:
            yield presence
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            await presence._close()

    async def _keep(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            try:
                await self._ensure()
            except CONNECTION_ERRORS as error:
                logger.warning("worker.presence_lost", worker_id=self.worker_id, error=type(error).__name__)

    async def _ensure(self) -> None:
        if self._connection is not None:
            try:
                await self._connection.execute("SELECT 1", timeout=5)
                return
            except CONNECTION_ERRORS:
                await self._close()
        connection = await asyncpg.connect(
            self._url, timeout=5, server_settings={"application_name": "docuchat-worker-presence"}
        )
        # a false answer means that the server has not noticed the end of the last session yet; asked again next time
        if await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", LOCK_CLASS, self.worker_id):
            self._connection = connection
        else:
            await connection.close()

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate() if connection.is_closed() else await _close_gently(connection)


async def _close_gently(connection: asyncpg.Connection) -> None:
    try:
        await connection.close(timeout=2)
    except CONNECTION_ERRORS:
        connection.terminate()
