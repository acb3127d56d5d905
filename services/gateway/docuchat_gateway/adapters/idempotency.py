"""Idempotency keys of uploads, in Redis."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from secrets import token_hex
from typing import Final
from uuid import UUID

import redis.asyncio
import structlog

from docuchat_common.ids import DocumentId
from docuchat_common.redis import REDIS_TROUBLE
from docuchat_gateway.documents.errors import IdempotencyKeyRunning
from docuchat_gateway.documents.ports import ClaimedKey, FinishedRequest

logger = structlog.get_logger()


# one step, so that of many equal requests exactly one is the first (SET with NX and GET together needs Redis 7)
_CLAIM: Final = """
local earlier = redis.call('GET', KEYS[1])
if not earlier then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return earlier
"""
_FINISH: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
"""
_RENEW: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
"""
_RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
"""


@dataclass(slots=True)
class _Claim:
    keys: "RedisIdempotencyKeys | None"
    name: str
    owner: str
    finished: FinishedRequest | None = None

    async def finish(self, outcome: FinishedRequest) -> None:
        if self.keys is not None:
            await self.keys.finish(self, outcome)


class RedisIdempotencyKeys:
    """Keys with a lease while their request runs, so that a killed gateway holds none of them for long.

    Without Redis a request runs as if it had no key: an upload is still idempotent by its content, which the database
    enforces, and refusing all uploads would be worse than not noticing that a key was used for two different files.
    """

    def __init__(self, client: redis.asyncio.Redis, *, lease: timedelta, keep: timedelta) -> None:
        self._lease = lease
        self._keep = keep
        self._claim = client.register_script(_CLAIM)
        self._finish = client.register_script(_FINISH)
        self._renew = client.register_script(_RENEW)
        self._release = client.register_script(_RELEASE)

    @asynccontextmanager
    async def claim(self, scope: str, key: str) -> AsyncIterator[ClaimedKey]:
        name = f"gateway:idempotency:{scope}:{hashlib.sha256(key.encode()).hexdigest()}"
        claim = _Claim(self, name, f"running:{token_hex(16)}")
        try:
            async with asyncio.timeout(1):
                milliseconds = int(self._lease.total_seconds() * 1000)
                earlier = await self._claim([name], [claim.owner, milliseconds])
        except REDIS_TROUBLE as error:
            logger.warning("idempotency.skipped", error=type(error).__name__)
            yield _Claim(None, name, claim.owner)
            return
        if earlier is not None:
            text = earlier.decode() if isinstance(earlier, bytes) else str(earlier)
            if text.startswith("running:"):
                raise IdempotencyKeyRunning
            stored = json.loads(text)
            claim.finished = FinishedRequest(
                stored["fingerprint"], DocumentId(UUID(stored["document_id"])), stored["created"]
            )
            yield claim
            return
        renewal = asyncio.create_task(self._keep_alive(claim))
        try:
            yield claim
        finally:
            renewal.cancel()
            with suppress(*REDIS_TROUBLE):
                async with asyncio.timeout(1):
                    await self._release([name], [claim.owner])

    async def finish(self, claim: _Claim, outcome: FinishedRequest) -> None:
        """Remember what the request did; the effect is durable already, so trouble here is only logged."""
        value = json.dumps(
            {
                "fingerprint": outcome.fingerprint,
                "document_id": str(outcome.document_id),
                "created": outcome.created,
            }
        )
        try:
            async with asyncio.timeout(1):
                await self._finish([claim.name], [claim.owner, value, int(self._keep.total_seconds())])
        except REDIS_TROUBLE as error:
            logger.warning("idempotency.not_kept", error=type(error).__name__)

    async def _keep_alive(self, claim: _Claim) -> None:
        lease = self._lease.total_seconds()
        while True:
            await asyncio.sleep(lease / 3)
            with suppress(*REDIS_TROUBLE):
                async with asyncio.timeout(lease / 3):
                    await self._renew([claim.name], [claim.owner, int(lease * 1000)])
