"""A creating request that is repeated with its Idempotency-Key takes effect once, and is answered as the first was.

The key's row is in the service's own schema (`db.ddl.idempotent_requests_ddl`), so that settling it shares the
transaction of the effect: neither a crash nor a lost Redis can separate them. While a request runs its key is leased;
the lease of a killed process ends by itself.
https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol, TypeVar
from uuid import UUID

import asyncpg
import orjson
import structlog

from docuchat_common.background import cancel
from docuchat_common.errors import Conflict, InvalidInput, UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.ids import TenantId, uuid7

logger = structlog.get_logger()

KEY_LIFE: Final = timedelta(hours=24)
"""How long a key is remembered where no setting says otherwise."""

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


class IdempotencyKeyInvalid(InvalidInput):
    """A request has one Idempotency-Key, of 1 to 255 visible ASCII characters."""

    code = "idempotency_key_invalid"


class IdempotencyKeyReused(InvalidInput):
    """This Idempotency-Key was used with another request; use a new key."""

    code = "idempotency_key_reused"


class IdempotencyKeyRunning(Conflict):
    """A request with this Idempotency-Key is still running; try again when it has ended."""

    code = "idempotency_key_running"


IDEMPOTENCY_ERRORS: Final = (IdempotencyKeyInvalid, IdempotencyKeyReused, IdempotencyKeyRunning)


def fingerprint_of(*parts: bytes | str) -> bytes:
    """What two requests share when they are the same request: a hash of `parts`, in order, each with its length."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """An answer as it was sent."""

    status: int
    body: bytes
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """A key and what it stands for: with neither `response` nor `reference`, for a request that is to be done now."""

    tenant_id: TenantId
    subject: str
    key_hash: bytes
    owner: UUID
    fingerprint: bytes | None = None
    """Of the request that the key stands for; None while that is not known."""
    response: StoredResponse | None = None
    """What the settled request was answered."""
    reference: UUID | None = None
    """What the request has begun that knows its own end, a turn for example: to be followed."""

    @property
    def is_first(self) -> bool:
        """Whether this request is to be done."""
        return self.response is None and self.reference is None

    def replay(self, fingerprint: bytes) -> StoredResponse:
        """The answer of the settled request; IdempotencyKeyReused when that was another one."""
        if self.fingerprint != fingerprint or self.response is None:
            raise IdempotencyKeyReused
        return self.response


_CLAIM: Final = """
INSERT INTO @schema@.idempotent_requests AS held (tenant_id, subject, key_hash, request_hash, owner, lease_until)
VALUES ($1, $2, $3, $4, $5, now() + $6::interval)
ON CONFLICT (tenant_id, subject, key_hash) DO UPDATE
SET owner = excluded.owner, lease_until = excluded.lease_until, request_hash = excluded.request_hash
WHERE held.settled_at IS NULL AND held.reference IS NULL
  AND (held.lease_until <= now() OR held.owner = excluded.owner)
RETURNING true
"""
_FIND: Final = """
SELECT request_hash, reference, settled_at IS NOT NULL AS settled, status, media_type, headers, body,
       lease_until - now() AS wait
FROM @schema@.idempotent_requests WHERE tenant_id = $1 AND subject = $2 AND key_hash = $3
"""
_RENEW: Final = """
UPDATE @schema@.idempotent_requests SET lease_until = now() + $5::interval
WHERE tenant_id = $1 AND subject = $2 AND key_hash = $3 AND owner = $4 AND settled_at IS NULL
"""
_BEGIN: Final = """
UPDATE @schema@.idempotent_requests SET reference = $5
WHERE tenant_id = $1 AND subject = $2 AND key_hash = $3 AND owner = $4 AND settled_at IS NULL
RETURNING true
"""
_SETTLE: Final = """
UPDATE @schema@.idempotent_requests
SET request_hash = $5, status = $6, media_type = $7, headers = $8, body = $9, settled_at = now(),
    reference = coalesce($10, reference)
WHERE tenant_id = $1 AND subject = $2 AND key_hash = $3 AND owner = $4 AND settled_at IS NULL
RETURNING true
"""
_RELEASE: Final = """
DELETE FROM @schema@.idempotent_requests
WHERE tenant_id = $1 AND subject = $2 AND key_hash = $3 AND owner = $4 AND settled_at IS NULL AND reference IS NULL
"""
_RELEASE_BEGUN: Final = """
DELETE FROM @schema@.idempotent_requests WHERE tenant_id = $1 AND reference = $2 AND settled_at IS NULL
"""
_FORGET_ABOUT: Final = "DELETE FROM @schema@.idempotent_requests WHERE tenant_id = $1 AND reference = $2"
_FORGET_SUBJECTS: Final = "DELETE FROM @schema@.idempotent_requests WHERE tenant_id = $1 AND subject = ANY($2::text[])"
_FORGET: Final = "DELETE FROM @schema@.idempotent_requests WHERE created_at < now() - $1::interval"


class IdempotentRequests:
    """The keys of one schema, inside one transaction."""

    def __init__(self, connection: asyncpg.Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema

    async def begin(self, claim: Claim, reference: UUID) -> None:
        """Note what the request has begun; from now on a repetition is shown it. Raises IdempotencyKeyRunning."""
        if not await self._value(_BEGIN, *_key_of(claim), reference):
            raise IdempotencyKeyRunning  # the lease had ended, and another request has the key

    async def settle(
        self, claim: Claim, fingerprint: bytes, response: StoredResponse, about: UUID | None = None
    ) -> None:
        """Keep the answer, in the transaction of the effect. Raises IdempotencyKeyRunning, which undoes the effect.

        `about` is the object that it tells of: `forget_about` takes it away.
        """
        if not await self._value(_SETTLE, *_key_of(claim), fingerprint, *_values_of(response), about):
            raise IdempotencyKeyRunning  # as above

    async def release_begun(self, tenant_id: TenantId, reference: UUID) -> None:
        """Free the key of the request that began `reference`: nothing came of it."""
        await self._connection.execute(self._sql(_RELEASE_BEGUN), tenant_id, reference)

    async def forget_about(self, tenant_id: TenantId, reference: UUID) -> None:
        """Delete what was answered about an object: its words do not outlive it."""
        await self._connection.execute(self._sql(_FORGET_ABOUT), tenant_id, reference)

    async def forget_subjects(self, tenant_id: TenantId, subjects: Sequence[str]) -> None:
        """Delete what these callers were answered (`Caller.subject`): they are gone."""
        await self._connection.execute(self._sql(_FORGET_SUBJECTS), tenant_id, list(subjects))

    async def forget(self, older_than: timedelta) -> None:
        """Delete keys of all tenants that were first used before that; for the system role."""
        await self._connection.execute(self._sql(_FORGET), older_than)

    async def take(self, claim: Claim, fingerprint: bytes | None, lease: timedelta) -> Claim | None:
        """The claim of the key; None when it was given back just now. Raises IdempotencyKeyReused and …Running."""
        if await self._value(_CLAIM, *_key_of(claim)[:3], fingerprint, claim.owner, lease):
            return claim
        row = await self._connection.fetchrow(self._sql(_FIND), *_key_of(claim)[:3])
        if row is None:
            return None
        if fingerprint is not None and row["request_hash"] not in (None, fingerprint):
            raise IdempotencyKeyReused
        response = None
        if row["settled"]:
            response = StoredResponse(row["status"], row["body"], row["media_type"], orjson.loads(row["headers"]))
        elif row["reference"] is None:
            error = IdempotencyKeyRunning()
            error.retry_after = max(row["wait"], timedelta(seconds=1))
            raise error
        return Claim(
            claim.tenant_id,
            claim.subject,
            claim.key_hash,
            claim.owner,
            fingerprint=row["request_hash"],
            response=response,
            reference=row["reference"],
        )

    async def renew(self, claim: Claim, lease: timedelta) -> None:
        """Hold the key for longer."""
        await self._connection.execute(self._sql(_RENEW), *_key_of(claim), lease)

    async def release(self, claim: Claim) -> None:
        """Free the key, unless the request was settled or has begun something."""
        await self._connection.execute(self._sql(_RELEASE), *_key_of(claim))

    async def _value(self, statement: str, *arguments: object) -> object:
        return await self._connection.fetchval(self._sql(statement), *arguments)

    def _sql(self, statement: str) -> str:
        return statement.replace("@schema@", self._schema)


def _key_of(claim: Claim) -> tuple[TenantId, str, bytes, UUID]:
    return claim.tenant_id, claim.subject, claim.key_hash, claim.owner


def _values_of(response: StoredResponse) -> tuple[int, str, str, bytes]:
    return response.status, response.media_type, orjson.dumps(response.headers).decode(), response.body


class RequestTx(Protocol):
    """A transaction of a service that keeps idempotency keys."""

    @property
    def requests(self) -> IdempotentRequests:
        """The keys of its schema."""


_T_contra = TypeVar("_T_contra", contravariant=True)


class Settle(Protocol[_T_contra]):
    """What a use case calls in its transaction with what it made, so that a repetition is answered the same."""

    async def __call__(self, tx: RequestTx, outcome: _T_contra, /) -> None: ...


async def without_key(_tx: RequestTx, _outcome: object, /) -> None:
    """Settle nothing: the request had no key."""


class RequestTransactions(Protocol):
    """The unit of work of such a service."""

    def __call__(self, tenant_id: TenantId) -> AbstractAsyncContextManager[RequestTx]: ...


class Idempotency:
    """Claims keys."""

    def __init__(self, transactions: RequestTransactions, *, lease: timedelta = timedelta(seconds=6)) -> None:
        """`lease`: how long the key of a killed process is held; a running one renews it."""
        self._transactions = transactions
        self._lease = lease

    @asynccontextmanager
    async def claim(self, caller: Caller, key: str, fingerprint: bytes | None = None) -> AsyncIterator[Claim]:
        """Hold `key` of this caller while the block does the request; left without `settle` or `begin`, it is free.

        `fingerprint` is given when it is known beforehand, as `begin` needs it. Raises IdempotencyKeyInvalid,
        IdempotencyKeyReused and IdempotencyKeyRunning.
        """
        if not _KEY.fullmatch(key):
            raise IdempotencyKeyInvalid
        mine = Claim(caller.tenant_id, caller.subject, hashlib.sha256(key.encode()).digest(), uuid7())
        claim = None
        while claim is None:
            claim = await self._take(mine, fingerprint)
        if not claim.is_first:
            yield claim
            return
        renewal = asyncio.create_task(self._keep(claim))
        try:
            yield claim
        finally:
            await cancel(renewal)
            await self._release(claim)

    async def _take(self, mine: Claim, fingerprint: bytes | None) -> Claim | None:
        is_again = False
        while True:
            has_begun = False
            try:
                async with self._transactions(mine.tenant_id) as tx:
                    has_begun = True
                    return await tx.requests.take(mine, fingerprint, self._lease)
            except UpstreamUnavailable:
                # the answer to the COMMIT may have been lost: what this request holds it takes again, once
                if is_again or not has_begun:
                    raise
                is_again = True

    async def _keep(self, claim: Claim) -> None:
        while True:
            await asyncio.sleep(self._lease.total_seconds() / 3)
            try:
                async with self._transactions(claim.tenant_id) as tx:
                    await tx.requests.renew(claim, self._lease)
            except UpstreamUnavailable as error:
                logger.warning("idempotency.not_renewed", reason=error.detail)

    async def _release(self, claim: Claim) -> None:
        try:
            async with self._transactions(claim.tenant_id) as tx:
                await tx.requests.release(claim)
        except UpstreamUnavailable as error:  # its lease ends by itself
            logger.warning("idempotency.not_released", reason=error.detail)
